// The floor: one thread, epoll edge-triggered, one shared buffer of 64 KiB, and nothing else.
//
// No limits, no timeouts. What the kernel does not take waits with its connection, which is not read meanwhile.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

struct client {
    int fd;
    char *waiting; // of `length` bytes, `sent` of which have left
    size_t length, sent;
};

static char buffer[64 * 1024];

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void accept_all(int epoll, int listener) {
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EAGAIN) return;
            if (errno == ECONNABORTED || errno == EINTR) continue;
            fail("accept4");
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        struct client *client = calloc(1, sizeof *client);
        if (!client) fail("calloc");
        client->fd = fd;
        struct epoll_event event = {EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, {.ptr = client}};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event)) fail("epoll_ctl");
    }
}

// Reads and writes until either would block; 0 at the end of the connection.
static int echo(struct client *client, int hang_up) {
    for (;;) {
        while (client->waiting) {
            ssize_t n = send(client->fd, client->waiting + client->sent, client->length - client->sent, MSG_NOSIGNAL);
            if (n < 0) return errno == EAGAIN;
            client->sent += n;
            if (client->sent == client->length) {
                free(client->waiting);
                client->waiting = NULL;
            }
        }
        ssize_t count = recv(client->fd, buffer, sizeof buffer, 0);
        if (count <= 0) return count < 0 && errno == EAGAIN;
        ssize_t sent = send(client->fd, buffer, count, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN) return 0;
        if (sent < 0) sent = 0;
        if (sent < count) {
            client->length = count - sent;
            client->sent = 0;
            client->waiting = malloc(client->length);
            if (!client->waiting) fail("malloc");
            memcpy(client->waiting, buffer + sent, client->length);
        } else if (count < (ssize_t)sizeof buffer && !hang_up) {
            return 1; // a short read has emptied the socket
        }
    }
}

int main(int argc, char **argv) {
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {AF_INET, htons(argc > 1 ? atoi(argv[1]) : 0), {htonl(INADDR_LOOPBACK)}, {0}};
    socklen_t length = sizeof address;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(listener, (void *)&address, length) || listen(listener, 1024)) fail("listen");
    getsockname(listener, (void *)&address, &length);
    printf("listening on tcp://127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);

    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event events[1024] = {{EPOLLIN | EPOLLET, {.ptr = NULL}}};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, listener, events)) fail("epoll_ctl");
    for (;;) {
        int count = epoll_wait(epoll, events, 1024, -1);
        for (int i = 0; i < count; i++) {
            struct client *client = events[i].data.ptr;
            if (!client) {
                accept_all(epoll, listener);
            } else if (!echo(client, events[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))) {
                close(client->fd);
                free(client->waiting);
                free(client);
            }
        }
    }
}
