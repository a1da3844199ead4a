// One thread, epoll edge-triggered, OpenSSL, and nothing else: PORT CERTIFICATE KEY.
//
// No limits, no timeouts. What the kernel does not take waits with its connection, which is not read meanwhile.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

struct client {
    int fd;
    SSL *ssl;
    char *waiting; // of `length` bytes, `sent` of which have left
    size_t length, sent;
};

static char buffer[64 * 1024];

static void fail(const char *what) {
    perror(what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

static void accept_all(int epoll, int listener, SSL_CTX *context) {
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EAGAIN) return;
            if (errno == ECONNABORTED || errno == EINTR) continue;
            fail("accept4");
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        struct client *client = calloc(1, sizeof *client);
        if (!client || !(client->ssl = SSL_new(context)) || !SSL_set_fd(client->ssl, fd)) fail("SSL_new");
        SSL_set_accept_state(client->ssl);
        client->fd = fd;
        struct epoll_event event = {EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, {.ptr = client}};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event)) fail("epoll_ctl");
    }
}

static int would_block(struct client *client, int result) {
    int error = SSL_get_error(client->ssl, result);
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
}

// Reads and writes until either would block; 0 at the end of the connection.
static int echo(struct client *client) {
    for (;;) {
        ERR_clear_error();
        while (client->waiting) {
            int n = SSL_write(client->ssl, client->waiting + client->sent, client->length - client->sent);
            if (n <= 0) return would_block(client, n);
            client->sent += n;
            if (client->sent == client->length) {
                free(client->waiting);
                client->waiting = NULL;
            }
        }
        int count = SSL_read(client->ssl, buffer, sizeof buffer);
        if (count <= 0) {
            if (would_block(client, count)) return 1;
            if (SSL_get_error(client->ssl, count) == SSL_ERROR_ZERO_RETURN) SSL_shutdown(client->ssl);
            return 0;
        }
        int sent = SSL_write(client->ssl, buffer, count);
        if (sent <= 0 && !would_block(client, sent)) return 0;
        if (sent < 0) sent = 0;
        if (sent < count) {
            client->length = count - sent;
            client->sent = 0;
            client->waiting = malloc(client->length);
            if (!client->waiting) fail("malloc");
            memcpy(client->waiting, buffer + sent, client->length);
        }
    }
}

int main(int argc, char **argv) {
    if (argc < 4) {
        fprintf(stderr, "openssl PORT CERTIFICATE KEY\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (!context || !SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) ||
        SSL_CTX_use_certificate_chain_file(context, argv[2]) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, argv[3], SSL_FILETYPE_PEM) != 1)
        fail("certificate");
    // An idle connection gives its buffers back.
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);

    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {AF_INET, htons(atoi(argv[1])), {htonl(INADDR_LOOPBACK)}, {0}};
    socklen_t length = sizeof address;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(listener, (void *)&address, length) || listen(listener, 1024)) fail("listen");
    getsockname(listener, (void *)&address, &length);
    printf("listening on tls://127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);

    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event events[1024] = {{EPOLLIN | EPOLLET, {.ptr = NULL}}};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, listener, events)) fail("epoll_ctl");
    for (;;) {
        int count = epoll_wait(epoll, events, 1024, -1);
        for (int i = 0; i < count; i++) {
            struct client *client = events[i].data.ptr;
            if (!client) {
                accept_all(epoll, listener, context);
            } else if (!echo(client)) {
                SSL_free(client->ssl);
                close(client->fd);
                free(client->waiting);
                free(client);
            }
        }
    }
}
