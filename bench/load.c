/* load: holds thousands of Socket.IO or HTTP clients on one core and measures the server behind them.
 *
 *   cc -O2 -o load load.c
 *   ./load fanout port=8000 pid=123 clients=1000 messages=300 window=16 senders=16 auth=@tokens body=@bodies
 *
 * What it prints is one JSON object a run. The server's CPU is read from its own clock
 * (clock_getcpuclockid: all threads, nanoseconds), so that neither this program's speed nor other
 * work on the machine is in the figure.
 *
 * Modes
 *   fanout  everybody listens; for `seconds` the first `senders` clients send in turn, at most
 *           `window` on the way (`messages` in all). One is done when the last client has it.
 *   pairs   clients 1 and 2 share a conversation, 3 and 4 the next, ...; the odd ones send, wait for
 *           the acknowledgement and send again, for `seconds` after a second of warming up.
 *   connect everybody connects.
 *   visits  one after the other connects, is in, and goes: how long that takes who comes alone.
 *   idle    everybody connects and is let alone for `settle`: the memory of a connection then, and
 *           its CPU during the next `seconds`. The figures of connecting are printed at once.
 *   http    `clients` keep-alive connections ask for one page after the other for `seconds`.
 *
 * Values (name=value; a value @FILE gives client i line i of the file; {n} in a text is the
 * client's number from 1, {pair} its pair, {seq} a number never used before, {text} the filler,
 * {any} a number drawn at random between `least` and `most`)
 *   port pid clients messages window senders seconds size settle least most
 *   path     what is asked for          auth   payload of the Socket.IO CONNECT
 *   emit     event that clients send    body   its payload
 *   hears    event that is a delivery   ready  event after which a client is in (default: CONNECT)
 *   browser  1: offer compression in the handshake, as browsers do
 *   header   one more header line for `http`, such as Authorization: Bearer ...
 *   raw      1: bare WebSocket; what a sender hears first is its acknowledgement
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { ROOM = 1 << 16, LATENCIES = 1 << 22, AT_ONCE = 16 };

typedef struct {
  int fd, number;
  bool upgraded, in;
  size_t held, room;
  uint8_t *bytes;
  long heard, answered;
  double asked;
} Client;

typedef struct {
  const char *text;
  char **lines; /* one a client, when the value came from a file */
} Value;

static Client *client;
static long clients = 100, messages = 200000, window = 1, senders = 1, size = 200;
static long port, pid, browser, raw, seq, least, most;
static double seconds = 5, settle = 0.5;
static Value path = {"/socket.io/?EIO=4&transport=websocket", 0}, auth = {"", 0}, header = {"", 0};
static Value body = {"{\"room\":\"{pair}\",\"text\":\"{text}\"}", 0};
static const char *emit_name = "msg", *hears = "msg", *ready_name = "";
static char *filler, hears_head[128], ready_head[128];
static int epoll;

static enum { CONNECTING, FANOUT, PAIRS, HTTP, RESTING } phase = CONNECTING;
static long in_count, heard_bytes, acks, answered, finished;
static long *reached; /* fanout: how many clients have the k-th message */
static double *since, *latency, deadline;
static long latencies;

static _Noreturn void stop(const char *format, ...) {
  va_list words;
  va_start(words, format);
  fputs("load: ", stderr);
  vfprintf(stderr, format, words);
  fputc('\n', stderr);
  exit(1);
}

static double seconds_of(clockid_t clock) {
  struct timespec at;
  if (clock_gettime(clock, &at)) stop("the server is gone");
  return at.tv_sec + at.tv_nsec * 1e-9;
}

static double now(void) { return seconds_of(CLOCK_MONOTONIC); }

static double server_cpu(void) {
  clockid_t clock;
  if (clock_getcpuclockid(pid, &clock)) stop("there is no process %ld", pid);
  return seconds_of(clock);
}

static long server_kib(void) {
  char name[64], line[256];
  long kib = 0;
  snprintf(name, sizeof name, "/proc/%ld/status", pid);
  FILE *file = fopen(name, "r");
  if (!file) stop("there is no process %ld", pid);
  while (fgets(line, sizeof line, file))
    if (sscanf(line, "VmRSS: %ld", &kib) == 1) break;
  fclose(file);
  return kib;
}

/* Texts */

static void read_lines(Value *value) {
  if (value->text[0] != '@') return;
  FILE *file = fopen(value->text + 1, "r");
  if (!file) stop("cannot read %s", value->text + 1);
  value->lines = calloc(clients, sizeof *value->lines);
  char *line = 0;
  size_t space = 0;
  for (long i = 0; i < clients; i++) {
    ssize_t length = getline(&line, &space, file);
    if (length < 0) stop("%s has fewer lines than there are clients", value->text + 1);
    if (length && line[length - 1] == '\n') line[length - 1] = 0;
    value->lines[i] = strdup(line);
  }
  free(line);
  fclose(file);
}

/* The same draw in every run (xorshift), so that everybody is asked the same. */
static long anything(void) {
  static uint64_t state = 88172645463325252u;
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  return least + (long)(state % (uint64_t)(most - least + 1));
}

static size_t write_text(char *out, const Value *value, int number) {
  const char *from = value->lines ? value->lines[number] : value->text;
  char *to = out;
  while (*from) {
    if (to - out > ROOM - size - 64) stop("a text is too long");
    if (!strncmp(from, "{n}", 3)) to += sprintf(to, "%d", number + 1), from += 3;
    else if (!strncmp(from, "{pair}", 6)) to += sprintf(to, "%d", number / 2 + 1), from += 6;
    else if (!strncmp(from, "{seq}", 5)) to += sprintf(to, "%ld", ++seq), from += 5;
    else if (!strncmp(from, "{any}", 5)) to += sprintf(to, "%ld", anything()), from += 5;
    else if (!strncmp(from, "{text}", 6)) to = mempcpy(to, filler, size), from += 6;
    else *to++ = *from++;
  }
  *to = 0;
  return to - out;
}

/* Sockets */

static void write_all(Client *c, const void *bytes, size_t length) {
  for (size_t done = 0; done < length;) {
    ssize_t n = write(c->fd, (const char *)bytes + done, length - done);
    if (n >= 0) done += n;
    else if (errno != EAGAIN) stop("client %d cannot write: %s", c->number + 1, strerror(errno));
  }
}

/* RFC 6455: a masked text frame; with a mask of zeros the payload stays as it is. */
static void say(Client *c, const char *text, size_t length) {
  static uint8_t frame[ROOM + 16];
  size_t at = 0;
  if (length > 65535) stop("a frame is too long");
  frame[at++] = 0x81;
  if (length < 126) frame[at++] = 0x80 | length;
  else frame[at++] = 0x80 | 126, frame[at++] = length >> 8, frame[at++] = length & 255;
  memset(frame + at, 0, 4), at += 4;
  memcpy(frame + at, text, length);
  write_all(c, frame, at + length);
}

static void send_event(Client *c) {
  static char packet[ROOM + 256], payload[ROOM + 64];
  write_text(payload, &body, c->number);
  int length = raw ? snprintf(packet, sizeof packet, "%s", payload)
                   : snprintf(packet, sizeof packet, "421[\"%s\",%s]", emit_name, payload);
  c->asked = now();
  say(c, packet, length);
}

static void ask_page(Client *c) {
  static char request[2 * ROOM], address[ROOM], extra[ROOM];
  write_text(address, &path, c->number);
  write_text(extra, &header, c->number);
  int length = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%ld\r\n%s%s\r\n",
                        address, port, extra, *extra ? "\r\n" : "");
  c->asked = now();
  write_all(c, request, length);
}

static void measured(Client *c) {
  latency[latencies++ % LATENCIES] = now() - c->asked;
  answered++, c->answered++;
}

/* What clients hear */

static void came_in(Client *c) {
  if (!c->in) c->in = true, in_count++;
}

static void heard(Client *c) {
  if (phase == FANOUT && c->heard < messages) reached[c->heard]++;
  c->heard++;
}

static void acknowledged(Client *c, const uint8_t *text, size_t length) {
  int shown = length > 300 ? 300 : length;
  if (memmem(text, length, "\"ok\":false", 10)) stop("client %d was answered %.*s", c->number + 1, shown, text);
  acks++;
  if (phase != PAIRS) return;
  measured(c);
  if (now() < deadline) send_event(c);
  else finished++;
}

static bool begins(const uint8_t *text, size_t length, const char *head) {
  size_t n = strlen(head);
  return length > n && !memcmp(text, head, n);
}

static void packet(Client *c, const uint8_t *text, size_t length) {
  static char payload[ROOM], greeting[ROOM + 8];
  if (raw) {
    if (phase == PAIRS && c->number % 2 == 0) acknowledged(c, text, length);
    else heard(c);
  } else if (length && text[0] == '0') {
    write_text(payload, &auth, c->number);
    say(c, greeting, snprintf(greeting, sizeof greeting, "40%s", payload));
  } else if (length && text[0] == '2') say(c, "3", 1);
  else if (length < 2 || text[0] != '4') return;
  else if (text[1] == '0' && !*ready_name) came_in(c);
  else if (text[1] == '4') stop("client %d was refused: %.*s", c->number + 1, (int)length, text);
  else if (text[1] == '3') acknowledged(c, text, length);
  else if (*ready_name && !c->in && begins(text, length, ready_head)) came_in(c);
  else if (begins(text, length, hears_head)) heard(c);
}

/* What is compressed cannot be read here, but who says nothing hears the greeting, then that they
 * are in, then pings. */
static void compressed(Client *c) {
  static const char *const known[] = {"0{}", "40{}", "2"};
  if (phase != CONNECTING && phase != RESTING) stop("the server compresses");
  long which = c->heard < 2 ? c->heard : 2;
  c->heard++;
  packet(c, (const uint8_t *)known[which], strlen(known[which]));
}

/* Returns how many bytes of what is held were a whole frame, 0 when it is not whole yet. */
static size_t frame(Client *c, const uint8_t *at, size_t left) {
  if (left < 2) return 0;
  uint64_t length = at[1] & 127;
  size_t head = length == 126 ? 4 : length == 127 ? 10 : 2;
  if (left < head) return 0;
  if (head > 2) {
    length = 0;
    for (size_t i = 2; i < head; i++) length = length << 8 | at[i];
  }
  if (left - head < length) return 0;
  if ((at[0] & 15) == 8) stop("the server closed client %d", c->number + 1);
  if (at[0] & 0x40) compressed(c);
  else if ((at[0] & 15) <= 2) packet(c, at + head, length);
  return head + length;
}

static size_t http_answer(Client *c, const uint8_t *at, size_t left) {
  const uint8_t *end = memmem(at, left, "\r\n\r\n", 4);
  if (!end) return 0;
  if (memcmp(at, "HTTP/1.1 200", 12)) stop("the server says %.*s", (int)(left > 400 ? 400 : left), at);
  const char *field = strcasestr((const char *)at, "content-length:");
  if (!field || (const uint8_t *)field > end) stop("an answer has no Content-Length");
  size_t whole = end - at + 4 + atol(field + 15);
  if (left < whole) return 0;
  heard_bytes += whole;
  measured(c);
  if (now() < deadline) ask_page(c);
  else finished++;
  return whole;
}

static size_t upgrade(Client *c, const uint8_t *at, size_t left) {
  const uint8_t *end = memmem(at, left, "\r\n\r\n", 4);
  if (!end) return 0;
  if (memcmp(at, "HTTP/1.1 101", 12)) stop("the server says %.*s", (int)left, at);
  c->upgraded = true;
  if (raw) came_in(c);
  return end - at + 4;
}

static void receive(Client *c) {
  if (c->room - c->held < 16384) c->bytes = realloc(c->bytes, (c->room = c->room * 2 + 32768) + 1);
  ssize_t n = read(c->fd, c->bytes + c->held, c->room - c->held);
  if (n < 0 && errno == EAGAIN) return;
  if (n <= 0) stop("the server hung up on client %d", c->number + 1);
  c->held += n;
  c->bytes[c->held] = 0;
  size_t at = 0, whole;
  do {
    const uint8_t *from = c->bytes + at;
    size_t left = c->held - at;
    whole = phase == HTTP ? http_answer(c, from, left) : c->upgraded ? frame(c, from, left) : upgrade(c, from, left);
    at += whole;
  } while (whole && at < c->held);
  memmove(c->bytes, c->bytes + at, c->held - at);
  c->held -= at;
  if (!c->held && c->room > 2 * ROOM) free(c->bytes), c->bytes = 0, c->room = 0;
}

static int turn(int milliseconds) {
  struct epoll_event events[512];
  int n = epoll_wait(epoll, events, 512, milliseconds);
  for (int i = 0; i < n; i++) receive(events[i].data.ptr);
  return n;
}

static void turn_or_stop(const char *waiting_for) {
  if (turn(30000) == 0) stop("nothing for 30 s while waiting for %s", waiting_for);
}

static void rest(double for_seconds) {
  for (double until = now() + for_seconds; now() < until;) turn(20);
}

static void open_socket(Client *c) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int yes = 1;
  c->fd = socket(AF_INET, SOCK_STREAM, 0);
  if (c->fd < 0) stop("no more sockets: raise ulimit -n");
  if (connect(c->fd, (void *)&to, sizeof to)) stop("cannot connect: %s", strerror(errno));
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  fcntl(c->fd, F_SETFL, O_NONBLOCK);
  struct epoll_event interest = {.events = EPOLLIN, .data.ptr = c};
  epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &interest);
}

static const char browser_headers[] =
    "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/140.0 Safari/537.36\r\n"
    "Accept-Language: en-GB,en;q=0.9,fr;q=0.8\r\n"
    "Accept-Encoding: gzip, deflate, br\r\n"
    "Cache-Control: no-cache\r\n";

static void knock(Client *c) {
  static char request[2 * ROOM], address[ROOM];
  open_socket(c);
  write_text(address, &path, c->number);
  int length = snprintf(request, sizeof request,
                        "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%ld\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        "Sec-WebSocket-Key: cGFsYWJyZSBtZWFzdXJlcw==\r\nSec-WebSocket-Version: 13\r\n%s\r\n",
                        address, port,
                        browser ? browser_headers : "");
  write_all(c, request, length);
}

static void connect_everybody(void) {
  for (long opened = 0; in_count < clients;) {
    if (opened < clients && opened - in_count < AT_ONCE) knock(&client[opened++]);
    else turn_or_stop("a handshake");
  }
}

/* Modes */

static int ascending(const void *a, const void *b) {
  double left = *(const double *)a, right = *(const double *)b;
  return (left > right) - (left < right);
}

static void print_latency(long count) {
  if (count > LATENCIES) count = LATENCIES;
  qsort(latency, count, sizeof *latency, ascending);
  double p50 = count ? latency[count / 2] : 0, p99 = count ? latency[(long)(count * 0.99)] : 0;
  printf(", \"p50_ms\": %.3f, \"p99_ms\": %.3f", p50 * 1e3, p99 * 1e3);
}

/* Sends until the deadline, then waits until everybody has everything. Returns how many were sent. */
static long broadcast_until(double until) {
  long sent = 0, done = 0;
  while (sent > done || (sent < messages && now() < until)) {
    while (sent < messages && sent - done < window && now() < until) {
      since[sent] = now();
      send_event(&client[sent++ % senders]);
    }
    turn_or_stop("deliveries");
    while (done < sent && reached[done] == clients) latency[done] = now() - since[done], done++;
  }
  return sent;
}

static void check_that_everybody_heard(long sent) {
  while (acks < sent) turn_or_stop("an acknowledgement");
  rest(0.2);
  for (long i = 0; i < clients; i++)
    if (client[i].heard != sent) stop("client %ld heard %ld of %ld messages", i + 1, client[i].heard, sent);
  if (acks != sent) stop("%ld messages were acknowledged %ld times", sent, acks);
}

static void fanout(void) {
  double cpu = 0, took = 1;
  long sent = 0;
  reached = calloc(messages, sizeof *reached);
  since = calloc(messages, sizeof *since);
  phase = FANOUT;
  for (int measured_round = 0; measured_round < 2; measured_round++) {
    memset(reached, 0, messages * sizeof *reached);
    for (long i = 0; i < clients; i++) client[i].heard = 0;
    acks = 0, cpu = server_cpu(), took = now();
    sent = broadcast_until(took + (measured_round ? seconds : 0.5));
    cpu = server_cpu() - cpu, took = now() - took;
    check_that_everybody_heard(sent);
  }
  double deliveries = (double)sent * clients;
  printf(", \"messages\": %ld, \"deliveries_per_s\": %.0f", sent, deliveries / took);
  printf(", \"cpu_us_per_delivery\": %.4f, \"cpu_us_per_message\": %.2f", cpu / deliveries * 1e6, cpu / sent * 1e6);
  print_latency(sent);
}

/* What was acknowledged was heard by the other of the pair, once; who hears it late has a while. */
static void check_that_pairs_heard(void) {
  rest(0.3);
  double patience = now() + 5;
  for (long i = 0; i + 1 < clients; i += 2) {
    while (client[i + 1].heard < client[i].answered && now() < patience) turn(20);
    long heard_by_other = client[i + 1].heard, said = client[i].answered;
    if (heard_by_other != said) stop("client %ld heard %ld of %ld messages", i + 2, heard_by_other, said);
  }
}

static void pairs(void) {
  long sending = (clients + 1) / 2;
  double cpu = 0, took = 1, sending_s = 0;
  phase = PAIRS;
  for (int measured_round = 0; measured_round < 2; measured_round++) {
    answered = latencies = finished = 0;
    cpu = server_cpu(), took = now(), deadline = took + (measured_round ? seconds : 1);
    for (long i = 0; i < clients; i += 2) send_event(&client[i]);
    while (finished < sending) turn_or_stop("an acknowledgement");
    cpu = server_cpu() - cpu, took = now() - took, sending_s += took;
    check_that_pairs_heard();
  }
  printf(", \"sending_s\": %.3f, \"sends\": %ld, \"sends_per_s\": %.1f", sending_s, answered, answered / took);
  printf(", \"cpu_us_per_send\": %.2f", cpu / answered * 1e6);
  print_latency(latencies);
}

static void pages(void) {
  phase = HTTP;
  double cpu = 0, took = 1;
  for (int measured_round = 0; measured_round < 2; measured_round++) {
    answered = latencies = finished = heard_bytes = 0;
    cpu = server_cpu(), took = now(), deadline = took + (measured_round ? seconds : 0.5);
    for (long i = 0; i < clients; i++) ask_page(&client[i]);
    while (finished < clients) turn_or_stop("a page");
    cpu = server_cpu() - cpu, took = now() - took;
  }
  printf("\"pages\": %ld, \"pages_per_s\": %.1f", answered, answered / took);
  printf(", \"cpu_us_per_page\": %.2f, \"bytes_per_page\": %.0f", cpu / answered * 1e6, (double)heard_bytes / answered);
  print_latency(latencies);
}

/* The first tenth is not counted; the server has a moment to say goodbye. */
static void visits(void) {
  double cpu = server_cpu();
  phase = RESTING;
  for (long i = 0; i < clients; i++) {
    if (i == clients / 10) latencies = 0, cpu = server_cpu();
    client[i].asked = now();
    knock(&client[i]);
    while (in_count <= i) turn_or_stop("a handshake");
    measured(&client[i]);
    close(client[i].fd);
    rest(0.02);
  }
  cpu = server_cpu() - cpu;
  printf("\"visits\": %ld, \"cpu_us_per_visit\": %.2f", latencies, cpu / latencies * 1e6);
  print_latency(latencies);
}

static void stay(long kib_before) {
  puts("}"), fflush(stdout);
  rest(settle);
  long kib = server_kib() - kib_before;
  double cpu = server_cpu();
  rest(seconds);
  cpu = server_cpu() - cpu;
  printf("{\"kib_per_connection\": %.2f", (double)kib / clients);
  printf(", \"idle_cpu_us_per_s\": %.3f", cpu / seconds / clients * 1e6);
}

static void sockets(const char *mode) {
  long before = server_kib();
  double cpu = server_cpu(), began = now();
  connect_everybody();
  double took = now() - began;
  cpu = server_cpu() - cpu;
  phase = RESTING;
  printf("\"clients\": %ld, \"connects_per_s\": %.0f", clients, clients / took);
  printf(", \"cpu_us_per_connect\": %.2f", cpu / clients * 1e6);
  if (!strcmp(mode, "idle")) stay(before);
  if (!strcmp(mode, "fanout")) rest(settle), fanout();
  if (!strcmp(mode, "pairs")) rest(settle), pairs();
}

static void take(const char *word) {
  const char *value = strchr(word, '=');
  if (!value) stop("%s is not name=value", word);
  size_t length = value++ - word;
  const struct {
    const char *name;
    long *number;
    double *real;
    const char **text;
    Value *each;
  } known[] = {
      {.name = "port", .number = &port},         {.name = "pid", .number = &pid},
      {.name = "clients", .number = &clients},   {.name = "messages", .number = &messages},
      {.name = "window", .number = &window},     {.name = "senders", .number = &senders},
      {.name = "size", .number = &size},         {.name = "least", .number = &least},
      {.name = "most", .number = &most},         {.name = "browser", .number = &browser},
      {.name = "raw", .number = &raw},           {.name = "seconds", .real = &seconds},
      {.name = "settle", .real = &settle},       {.name = "emit", .text = &emit_name},
      {.name = "hears", .text = &hears},         {.name = "ready", .text = &ready_name},
      {.name = "path", .each = &path},           {.name = "auth", .each = &auth},
      {.name = "body", .each = &body},           {.name = "header", .each = &header},
  };
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    if (strlen(known[i].name) != length || strncmp(known[i].name, word, length)) continue;
    if (known[i].number) *known[i].number = atol(value);
    else if (known[i].real) *known[i].real = atof(value);
    else if (known[i].text) *known[i].text = value;
    else known[i].each->text = value;
    return;
  }
  stop("there is no value called %.*s", (int)length, word);
}

static bool is_known(const char *mode) {
  static const char *const known[] = {"fanout", "pairs", "connect", "visits", "idle", "http"};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (!strcmp(known[i], mode)) return true;
  return false;
}

int main(int count, char **words) {
  const char *mode = count > 1 ? words[1] : "";
  if (!is_known(mode)) stop("say fanout, pairs, connect, visits, idle or http; the values stand at the head of load.c");
  for (int i = 2; i < count; i++) take(words[i]);
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  filler = malloc(size + 1);
  memset(filler, 'x', size), filler[size] = 0;
  read_lines(&auth), read_lines(&body), read_lines(&path), read_lines(&header);
  snprintf(hears_head, sizeof hears_head, "42[\"%s\",", hears);
  snprintf(ready_head, sizeof ready_head, "42[\"%s\",", ready_name);
  client = calloc(clients, sizeof *client);
  latency = calloc(LATENCIES, sizeof *latency);
  epoll = epoll_create1(0);
  for (long i = 0; i < clients; i++) client[i].number = i;
  fputs("{", stdout);
  if (!strcmp(mode, "http")) {
    for (long i = 0; i < clients; i++) open_socket(&client[i]);
    pages();
  } else if (!strcmp(mode, "visits")) visits();
  else sockets(mode);
  puts("}");
  return 0;
}
