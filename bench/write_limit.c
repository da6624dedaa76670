/* write_limit: what the kernel charges for a broadcast.
 *
 *   cc -O2 -o write_limit write_limit.c && ./write_limit PORT
 *
 * Greets Socket.IO clients, believes everybody, and hands each event to everybody with one write()
 * per client: no checks, no storage, no numbers. No server on this kernel delivers for less, one
 * write per delivery.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LARGEST = 1 << 16, MOST = 1 << 17 };

typedef struct {
  int fd;
  int place; /* among those who listen, or -1 */
  int upgraded;
  size_t held;
  uint8_t bytes[LARGEST];
} Peer;

static Peer *listening[MOST];
static int listeners;

static size_t framed(uint8_t *out, const void *text, size_t length) {
  size_t at = 0;
  out[at++] = 0x81;
  if (length < 126) out[at++] = length;
  else out[at++] = 126, out[at++] = length >> 8, out[at++] = length & 255;
  memcpy(out + at, text, length);
  return at + length;
}

static void tell(int fd, const char *text) {
  uint8_t out[256];
  if (write(fd, out, framed(out, text, strlen(text))) < 0) perror("write");
}

static void forget(Peer *peer) {
  if (peer->place >= 0) {
    listening[peer->place] = listening[--listeners];
    listening[peer->place]->place = peer->place;
  }
  close(peer->fd);
  free(peer);
}

static void broadcast(const uint8_t *text, size_t length) {
  static uint8_t out[LARGEST + 8];
  size_t whole = framed(out, text, length);
  for (int i = 0; i < listeners; i++)
    if (write(listening[i]->fd, out, whole) < 0) perror("write");
}

static void acknowledge(int fd, const uint8_t *number, size_t digits) {
  char text[64];
  if (digits > 20) return;
  snprintf(text, sizeof text, "43%.*s[{\"ok\":true}]", (int)digits, (const char *)number);
  tell(fd, text);
}

static void packet(Peer *peer, const uint8_t *text, size_t length) {
  if (length < 2 || text[0] != '4') return;
  if (text[1] == '0' && peer->place < 0 && listeners < MOST) {
    peer->place = listeners, listening[listeners++] = peer;
    tell(peer->fd, "40{\"sid\":\"room\"}");
  } else if (text[1] == '2') {
    /* An acknowledgement's number stands before the event; a broadcast carries none. */
    static uint8_t event[LARGEST];
    const uint8_t *list = memchr(text, '[', length);
    if (!list) return;
    size_t rest = length - (list - text);
    memcpy(event, "42", 2), memcpy(event + 2, list, rest);
    broadcast(event, rest + 2);
    if (list > text + 2) acknowledge(peer->fd, text + 2, list - text - 2);
  }
}

static size_t frame(Peer *peer, const uint8_t *at, size_t left) {
  if (left < 6) return 0;
  size_t length = at[1] & 127, head = 2;
  if (length == 126) length = at[2] << 8 | at[3], head = 4;
  if (left < head + 4 + length) return 0;
  packet(peer, at + head + 4, length); /* the load generator masks with zeros */
  return head + 4 + length;
}

static void receive(Peer *peer) {
  ssize_t n = read(peer->fd, peer->bytes + peer->held, sizeof peer->bytes - peer->held);
  if (n <= 0) {
    forget(peer);
    return;
  }
  peer->held += n;
  if (!peer->upgraded) {
    if (!memmem(peer->bytes, peer->held, "\r\n\r\n", 4)) return;
    static const char answer[] =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Accept: unchecked\r\n\r\n";
    if (write(peer->fd, answer, sizeof answer - 1) < 0) perror("write");
    tell(peer->fd, "0{\"sid\":\"peer\"}");
    peer->upgraded = 1, peer->held = 0;
    return;
  }
  size_t at = 0, whole;
  while (at < peer->held && (whole = frame(peer, peer->bytes + at, peer->held - at))) at += whole;
  memmove(peer->bytes, peer->bytes + at, peer->held - at);
  peer->held -= at;
}

int main(int count, char **words) {
  struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  struct epoll_event waiting = {.events = EPOLLIN}, events[256];
  int door = socket(AF_INET, SOCK_STREAM, 0), epoll = epoll_create1(0), yes = 1;
  struct rlimit files;
  if (count != 2) return fputs("write_limit: say a port\n", stderr), 2;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  here.sin_port = htons(atoi(words[1]));
  setsockopt(door, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (bind(door, (void *)&here, sizeof here) || listen(door, 4096)) return perror("write_limit"), 1;
  epoll_ctl(epoll, EPOLL_CTL_ADD, door, &waiting);
  for (;;) {
    int n = epoll_wait(epoll, events, 256, -1);
    for (int i = 0; i < n; i++) {
      if (events[i].data.ptr) {
        receive(events[i].data.ptr);
        continue;
      }
      int fd = accept(door, 0, 0);
      if (fd < 0) continue;
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
      Peer *peer = calloc(1, sizeof *peer);
      peer->fd = fd, peer->place = -1;
      struct epoll_event interest = {.events = EPOLLIN, .data.ptr = peer};
      epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &interest);
    }
  }
}
