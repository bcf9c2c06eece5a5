/* The executable behind every plugin name. It hands its call (name, CNI_* variables, stdin) to spiderpool-agent over a unix
 * socket, runs foreign plugins as its own children when the agent says so, and prints the agent's answer. It parses no JSON
 * and allocates no memory. The frames are described in src/cni/frames.ts. The file `.spiderpool-socket` beside it may hold
 * the socket's path and, on a second line, milliseconds: how long to wait for the agent at ADD and CHECK, at DEL and GC, at
 * STATUS, and for its answer. On x86-64 it does without a C library: what it uses of one is in start.c. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { HEADER = 12, FRAME_VERSION = 1, STREAM_MAX = 4 << 20, STDERR_MAX = 64 << 10, BODY_MAX = 5 << 20, VARIABLES_MAX = 64 };
enum kind { CALL = 1, RESULT, EXEC, OUTPUT };
enum tag { ARGV0 = 1, ENV, STDIN, EXIT_CODE, STDOUT, STDERR, PATH, TIMEOUT_MS, SIGNAL };
struct buf { size_t len; char header[HEADER], at[BODY_MAX + 1]; }; /* a frame's header lies just before its body */
struct field { char *at; uint32_t len; };

static struct buf input, call, received, reply, out, err; /* pages that are never touched cost nothing */
static struct { struct field field[SIGNAL + 1], env[VARIABLES_MAX]; int variables; } frame; /* points into `received` */
static struct sockaddr_un agent = { .sun_family = AF_UNIX, .sun_path = "/var/run/spidernet/cni.sock" };
static int add_ms = 30000, del_ms = 30000, status_ms = 1000, reply_ms = 110000;
static const struct timespec step = { .tv_nsec = 20000000 };
static const char *verb, *plugin = ""; /* the name by which this was started */
extern char **environ;

static int64_t now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int left_ms(int64_t until) {
  int64_t left = until - now_ms();
  return left < 0 ? 0 : (int)left;
}

/* Answers with a CNI error. Characters in `details` that JSON would need escaped are replaced. */
__attribute__((format(printf, 3, 4))) static _Noreturn void fail(int code, const char *msg, const char *format, ...) {
  char details[600];
  va_list args;
  va_start(args, format);
  vsnprintf(details, sizeof details, format, args);
  for (char *c = details; *c; c++) if (*c == '"' || *c == '\\' || *c < ' ' || *c == 127) *c = '?';
  dprintf(1, "{\n    \"cniVersion\": \"1.1.0\",\n    \"code\": %d,\n    \"msg\": \"%s\",\n    \"details\": \"%s\"\n}", code, msg, details);
  _exit(1);
}

static _Noreturn void fail_agent(const char *what, int why) {
  const char *advice = "check that the spiderpool-agent Pod of this node is running";
  char msg[96]; /* plugins that call the IPAM plugin know its prefix */
  snprintf(msg, sizeof msg, "%s%s", strcmp(plugin, "spiderpool") ? "" : "unhealthy spiderpool-agent backend: ", what);
  fail(!strcmp(verb, "STATUS") ? 50 : 11, msg, "socket %s: %s; %s", agent.sun_path, strerror(why), advice);
}

static void put(struct buf *b, const void *data, size_t len) {
  if (len > BODY_MAX - b->len) fail(5, "the call is too large for the agent", "more than %d bytes", BODY_MAX);
  memcpy(b->at + b->len, data, len);
  b->len += len;
}

static void put_field(struct buf *b, char tag, const void *data, size_t len) {
  uint32_t size = htonl((uint32_t)len);
  put(b, &tag, 1), put(b, &size, 4), put(b, data, len);
}

/* Moves bytes until all are through or the other side ends, and returns how many; -1 after an error or the deadline. */
static ssize_t move(int fd, short event, char *at, size_t len, int64_t until) {
  size_t done = 0;
  while (done < len) {
    int ready = poll(&(struct pollfd){ .fd = fd, .events = event }, 1, left_ms(until));
    if (ready == 0) return errno = ETIMEDOUT, -1;
    ssize_t n = ready < 0 ? -1 : event == POLLOUT ? write(fd, at + done, len - done) : read(fd, at + done, len - done);
    if (n < 0 && errno != EINTR && errno != EAGAIN) return -1;
    if (n == 0) break;
    if (n > 0) done += (size_t)n;
  }
  return (ssize_t)done;
}

static int receive(int fd, char *at, size_t len, int64_t until) {
  ssize_t n = move(fd, POLLIN, at, len, until);
  if (n >= 0 && (size_t)n < len) errno = ECONNRESET;
  return n == (ssize_t)len;
}

/* Sends a frame and receives the answer into `frame`: its kind, or 0 with the reason in errno. Texts end with a zero byte. */
static int ask(int fd, enum kind kind, struct buf *body, int64_t until) {
  char header[HEADER] = { 'S', 'P', 'C', FRAME_VERSION, (char)kind };
  uint32_t size = htonl((uint32_t)body->len), len;
  memcpy(body->header, header, 8), memcpy(body->header + 8, &size, 4);
  /* In one piece: the agent wakes up once. */
  if (move(fd, POLLOUT, (char *)body + offsetof(struct buf, header), HEADER + body->len, until) < 0) return 0;
  if (!receive(fd, header, HEADER, until)) return 0;
  memcpy(&size, header + 8, 4);
  if (memcmp(header, "SPC", 3) || header[3] != FRAME_VERSION || (size = ntohl(size)) > BODY_MAX) return errno = EPROTO, 0;
  if (!receive(fd, received.at, size, until)) return 0;
  memset(&frame, 0, sizeof frame);
  received.at[size] = 0;
  for (char *at = received.at, *end = at + size, tag; at < end; at += len) {
    if (end - at < 5) return errno = EPROTO, 0;
    memcpy(&len, at + 1, 4);
    len = ntohl(len), tag = *at, *at = 0, at += 5; /* the zero ends the field before */
    int numeric = tag == EXIT_CODE || tag == TIMEOUT_MS || tag == SIGNAL, many = tag == ENV && frame.variables == VARIABLES_MAX;
    if (len > end - at || tag < ARGV0 || tag > SIGNAL || (numeric && len != 4) || many) return errno = EPROTO, 0;
    *(tag == ENV ? &frame.env[frame.variables++] : &frame.field[(int)tag]) = (struct field){ at, len };
  }
  return header[4];
}

static uint32_t number(enum tag tag) {
  uint32_t n;
  return memcpy(&n, frame.field[tag].at, 4), ntohl(n);
}

/* The first regular file of the plugin's name in the directories of PATH, which are taken apart; NULL where there is none. */
static const char *find_plugin(void) {
  static char file[4096];
  struct stat found;
  for (char *folder = frame.field[PATH].at, *next; folder; folder = next) {
    if ((next = strchr(folder, ':'))) *next++ = 0;
    if (!*folder) continue;
    int len = snprintf(file, sizeof file, "%s/%s", folder, frame.field[ARGV0].at);
    if (len < (int)sizeof file && !stat(file, &found) && S_ISREG(found.st_mode)) return file;
  }
  return NULL;
}

/* The shim's variables, with the frame's in the places of those of the same names. */
static void merge_variables(char **all) {
  size_t many = 0, at;
  for (char **v = environ; *v; v++) all[many++] = *v;
  for (int i = 0; i < frame.variables; i++) {
    char *one = frame.env[i].at, *value = strchr(one, '=');
    for (at = 0; at < many && value && strncmp(all[at], one, (size_t)(value - one) + 1);) at++;
    if (value) all[at] = one, many += at == many;
  }
  all[many] = NULL;
}

static _Noreturn void become_plugin(int in_fd, int out_fd, int err_fd) {
  const char *file = find_plugin();
  size_t many = 0;
  while (environ[many]) many++;
  char *variables[many + VARIABLES_MAX + 1];
  merge_variables(variables);
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  signal(SIGPIPE, SIG_DFL);
  dup2(in_fd, 0), dup2(out_fd, 1), dup2(err_fd, 2); /* ours are all above 2 and close on exec */
  for (int tries = 0; file && tries < 6; tries++, sleep(1)) { /* a file that is just being written is worth another try */
    execve(file, (char *[]){ frame.field[ARGV0].at, NULL }, variables);
    if (errno != ETXTBSY) break;
  }
  if (file) dprintf(2, "cannot execute %s: %s", file, strerror(errno));
  else dprintf(2, "no such plugin");
  _exit(127);
}

/* Reads what there is, keeping `max` bytes in all; returns the descriptor, or -1 when it is at its end. */
static int drain(int fd, struct buf *b, size_t max) {
  char chunk[65536];
  ssize_t n = -1;
  while (fd >= 0 && (n = read(fd, chunk, sizeof chunk)) > 0) put(b, chunk, (size_t)n < max - b->len ? (size_t)n : max - b->len);
  return n == 0 ? -1 : fd;
}

/* Runs the plugin of an EXEC frame and puts how it ended into `reply`. Its process group is killed at the deadline. */
static void run_plugin(int64_t until) {
  struct field in = frame.field[STDIN];
  int o[2], e[2], status = 0, stdin_fd = memfd_create("stdin", MFD_CLOEXEC);
  if (stdin_fd < 0 || write(stdin_fd, in.at, in.len) != (ssize_t)in.len || lseek(stdin_fd, 0, SEEK_SET) ||
      pipe2(o, O_CLOEXEC) || pipe2(e, O_CLOEXEC))
    fail(5, "cannot make the streams of a plugin", "%s", strerror(errno));
  pid_t pid = fork();
  if (pid < 0) fail(5, "cannot fork", "%s", strerror(errno));
  if (pid == 0) become_plugin(stdin_fd, o[1], e[1]);
  setpgid(pid, pid);
  close(stdin_fd), close(o[1]), close(e[1]);
  fcntl(o[0], F_SETFL, O_NONBLOCK), fcntl(e[0], F_SETFL, O_NONBLOCK);
  out.len = err.len = reply.len = 0;
  struct pollfd p[] = { { o[0], POLLIN, 0 }, { e[0], POLLIN, 0 } };
  for (int ended = 0; !ended;) { /* a grandchild may hold the pipes for ever, so that the child's own end counts */
    if (!left_ms(until)) kill(-pid, SIGKILL);
    poll(p, 2, (p[0].fd < 0 && p[1].fd < 0) || left_ms(until) < 20 ? 1 : 20);
    ended = waitpid(pid, &status, WNOHANG) == pid;
    p[0].fd = drain(p[0].fd, &out, STREAM_MAX), p[1].fd = drain(p[1].fd, &err, STDERR_MAX);
  }
  close(o[0]), close(e[0]);
  uint32_t code = htonl((uint32_t)(WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status)));
  put_field(&reply, WIFEXITED(status) ? EXIT_CODE : SIGNAL, &code, 4);
  put_field(&reply, STDOUT, out.at, out.len), put_field(&reply, STDERR, err.at, err.len);
}

static int connect_agent(int64_t until) {
  for (;; nanosleep(&step, NULL)) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && !connect(fd, (struct sockaddr *)&agent, sizeof agent)) return fd;
    int wait = errno == ENOENT || errno == ECONNREFUSED || errno == EAGAIN; /* not there, starting, backlog full */
    if (!wait || !left_ms(until)) fail_agent("spiderpool-agent is not reachable", errno);
    close(fd);
  }
}

/* Says the call on one connection and does as told until the RESULT, which ends the process. Returns why there was none. */
static int converse(int fd, int64_t until) {
  int kind = ask(fd, CALL, &call, until);
  while (kind == EXEC && frame.field[PATH].at && frame.field[ARGV0].at && frame.field[TIMEOUT_MS].at) {
    int64_t plugin_until = now_ms() + number(TIMEOUT_MS);
    run_plugin(plugin_until < until ? plugin_until : until);
    kind = ask(fd, OUTPUT, &reply, until);
  }
  int why = kind ? EPROTO : errno;
  if (kind == RESULT && frame.field[EXIT_CODE].at) {
    int printed = move(1, POLLOUT, frame.field[STDOUT].at, frame.field[STDOUT].len, until) == frame.field[STDOUT].len;
    move(2, POLLOUT, frame.field[STDERR].at, frame.field[STDERR].len, until);
    _exit(!printed || number(EXIT_CODE));
  }
  close(fd);
  return why;
}

static void read_settings(void) {
  static char path[4096], text[256];
  if (readlink("/proc/self/exe", path, sizeof path - 32) <= 0) return;
  memcpy(strrchr(path, '/') + 1, ".spiderpool-socket", 19);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  ssize_t len = read(fd, text, sizeof text - 1);
  close(fd);
  char *line = strchr(text, '\n'), *next = line;
  size_t name = line ? (size_t)(line - text) : len > 0 ? (size_t)len : 0;
  if (name == 0 || name >= sizeof agent.sun_path) return;
  memcpy(agent.sun_path, text, name);
  agent.sun_path[name] = 0;
  int *settings[] = { &add_ms, &del_ms, &status_ms, &reply_ms };
  for (int i = 0; i < 4 && line; i++, line = next) {
    int value = (int)strtol(line, &next, 10);
    if (next == line) break;
    *settings[i] = value;
  }
}

int main(int argc, char **argv) {
  const char *versions = "[\"0.3.0\",\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\"]", *name = argc ? argv[0] : "", *slash = strrchr(name, '/');
  plugin = slash ? slash + 1 : name;
  for (int fd = 0; fd >= 0 && fd <= 2;) fd = open("/dev/null", O_RDWR | O_CLOEXEC); /* nothing of ours may become a stream */
  signal(SIGPIPE, SIG_IGN);
  signal(SIGCHLD, SIG_DFL); /* ignored, which is inherited, a plugin that ended would never be seen by waitpid */
  verb = getenv("CNI_COMMAND");
  if (!verb || !*verb) return dprintf(2, "Spiderpool CNI plugin\nCNI protocol versions supported: %s\n", versions) < 0;
  if (!strcmp(verb, "VERSION")) return dprintf(1, "{\"cniVersion\":\"1.1.0\",\"supportedVersions\":%s}", versions) < 0;
  read_settings();
  int64_t began = now_ms(), until = began + reply_ms;
  char called[64]; /* a GC must not take down what was added after it */
  snprintf(called, sizeof called, "SPIDERPOOL_CALLED_MS=%lld", (long long)began);
  ssize_t n = move(0, POLLIN, input.at, STREAM_MAX + 1, until);
  if (n < 0) fail(5, "cannot read the network configuration from stdin", "%s", strerror(errno));
  if (n > STREAM_MAX) fail(5, "network configuration on stdin is too large", "more than the allowed %d bytes", STREAM_MAX);
  put_field(&call, ARGV0, plugin, strlen(plugin));
  for (char **v = environ; *v; v++) if (!strncmp(*v, "CNI_", 4)) put_field(&call, ENV, *v, strlen(*v));
  put_field(&call, ENV, called, strlen(called));
  put_field(&call, STDIN, input.at, (size_t)n);
  int wait_ms = !strcmp(verb, "STATUS") ? status_ms : !strcmp(verb, "DEL") || !strcmp(verb, "GC") ? del_ms : add_ms;
  /* A call that was cut off is said again: the agent may be restarting. It knows an ADD by when this was started, and takes down
   * first what it had done for it. An ADD within an ADD of the agent's goes down with that. */
  int within = !strcmp(verb, "ADD") && getenv("CNI_SPIDERPOOL_CALL");
  for (int64_t reachable = began + wait_ms;; nanosleep(&step, NULL)) {
    int why = converse(connect_agent(reachable), until), lost = why == ECONNRESET || why == EPIPE;
    if (!lost || within || !left_ms(reachable)) fail_agent("spiderpool-agent did not answer", why);
  }
}
