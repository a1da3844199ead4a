// libuv's own way: a stream is read into a buffer of 64 KiB that the loop's callbacks share; what it sends
// back is tried at once, and queued as a copy only if the kernel does not take all of it.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

struct pending {
    uv_write_t request;
    char bytes[];
};

static char shared[64 * 1024];

static void lend(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
    (void)handle, (void)suggested;
    *buffer = uv_buf_init(shared, sizeof shared);
}

static void on_closed(uv_handle_t *handle) {
    free(handle);
}

static void end(uv_stream_t *client) {
    if (!uv_is_closing((uv_handle_t *)client)) uv_close((uv_handle_t *)client, on_closed);
}

static void on_read(uv_stream_t *client, ssize_t count, const uv_buf_t *buffer);

static void on_written(uv_write_t *request, int status) {
    uv_stream_t *client = request->handle;
    free(request);
    if (status < 0) {
        end(client);
    } else if (!uv_is_closing((uv_handle_t *)client) && client->write_queue_size == 0) {
        uv_read_start(client, lend, on_read);
    }
}

static void on_read(uv_stream_t *client, ssize_t count, const uv_buf_t *buffer) {
    if (count < 0) {
        end(client);
        return;
    }
    uv_buf_t out = uv_buf_init(buffer->base, (unsigned)count);
    int sent = uv_try_write(client, &out, 1);
    if (sent == UV_EAGAIN) sent = 0;
    if (sent < 0) {
        end(client);
        return;
    }
    if (sent == count) return;
    struct pending *pending = malloc(sizeof *pending + count - sent);
    if (!pending) exit(1);
    memcpy(pending->bytes, buffer->base + sent, count - sent);
    out = uv_buf_init(pending->bytes, (unsigned)(count - sent));
    uv_read_stop(client);
    if (uv_write(&pending->request, client, &out, 1, on_written)) {
        free(pending);
        end(client);
    }
}

static void on_connection(uv_stream_t *listener, int status) {
    if (status < 0) return;
    uv_tcp_t *client = malloc(sizeof *client);
    if (!client) exit(1);
    uv_tcp_init(listener->loop, client);
    if (uv_accept(listener, (uv_stream_t *)client)) {
        uv_close((uv_handle_t *)client, on_closed);
        return;
    }
    uv_tcp_nodelay(client, 1);
    uv_read_start((uv_stream_t *)client, lend, on_read);
}

int main(int argc, char **argv) {
    uv_loop_t *loop = uv_default_loop();
    uv_tcp_t listener;
    struct sockaddr_in address;
    int length = sizeof address;
    uv_ip4_addr("127.0.0.1", argc > 1 ? atoi(argv[1]) : 0, &address);
    uv_tcp_init(loop, &listener);
    int failed = uv_tcp_bind(&listener, (const struct sockaddr *)&address, 0);
    if (!failed) failed = uv_listen((uv_stream_t *)&listener, 1024, on_connection);
    if (failed) {
        fprintf(stderr, "cannot listen: %s\n", uv_strerror(failed));
        return 1;
    }
    uv_tcp_getsockname(&listener, (struct sockaddr *)&address, &length);
    printf("listening on tcp://127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return uv_run(loop, UV_RUN_DEFAULT);
}
