/* Feeds frames that are made at random and then damaged to the shim's reader, all in one process, and prints how many of
 * them it took. Arguments: seed, number of frames. It is built with sanitizers, which end it at the first fault. */
#define main shim_main
#include "shim.c"
#undef main

static uint64_t state;

static uint32_t below(uint32_t n) { /* xorshift64* */
  state ^= state >> 12, state ^= state << 25, state ^= state >> 27;
  return n ? (uint32_t)((state * 0x2545F4914F6CDD1DULL) >> 32) % n : 0;
}

static void put_number(char *at, uint32_t n) {
  n = htonl(n), memcpy(at, &n, 4);
}

/* A frame as an agent could send it, except for what chance does to tags and lengths. */
static size_t make(char *at) {
  char *field = at + HEADER;
  for (uint32_t fields = below(20) ? below(9) : 60 + below(10); fields > 0; fields--) {
    uint32_t tag = below(30) ? 1 + below(SIGNAL) : below(256), len = below(6) ? 4 : below(200);
    if (fields > 9) tag = ENV;
    *field++ = (char)tag, put_number(field, len), field += 4;
    for (uint32_t i = 0; i < len; i++) *field++ = (char)("=a\0x"[below(4)]);
  }
  memcpy(at, "SPC\1", 4), memset(at + 4, 0, 4), at[4] = (char)(1 + below(4));
  put_number(at + 8, (uint32_t)(field - at - HEADER));
  return (size_t)(field - at);
}

static size_t damage(char *at, size_t len) {
  static const uint32_t lies[] = { 0, 1, 4, BODY_MAX, BODY_MAX + 1, 0x7fffffff, 0xffffffff };
  switch (below(6)) {
    case 0: return below((uint32_t)len + 1);
    case 1: put_number(at + 8, lies[below(7)]); return len;
    case 2: if (len > HEADER + 5) put_number(at + HEADER + 1, lies[below(7)]); return len;
    case 3: for (uint32_t times = 1 + below(4); times > 0; times--) at[below((uint32_t)len)] = (char)below(256); return len;
    default: return len;
  }
}

/* Reads every byte that the shim would use of what it took. */
static int use(void) {
  volatile size_t seen = 0;
  for (int tag = ARGV0; tag <= SIGNAL; tag++) {
    struct field f = frame.field[tag];
    if (f.at) seen += f.len ? (size_t)f.at[f.len - 1] : 0, seen += strlen(f.at);
    if (f.at && (tag == EXIT_CODE || tag == TIMEOUT_MS || tag == SIGNAL)) seen += number((enum tag)tag);
  }
  for (int i = 0; i < frame.variables; i++) seen += strlen(frame.env[i].at);
  if (frame.field[PATH].at && frame.field[ARGV0].at) find_plugin();
  return 1;
}

int main(int argc, char **argv) {
  static char sent[64 << 10];
  long frames = argc > 2 ? atol(argv[2]) : 1000, taken = 0;
  state = (argc > 1 ? strtoull(argv[1], NULL, 10) : 1) * 2654435761u + 1;
  signal(SIGPIPE, SIG_IGN);
  for (long i = 0; i < frames; i++) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends)) return perror("socketpair"), 1;
    size_t len = damage(sent, make(sent));
    if (write(ends[1], sent, len) != (ssize_t)len || shutdown(ends[1], SHUT_WR)) return perror("write"), 1;
    call.len = 0;
    if (ask(ends[0], CALL, &call, now_ms() + 1000)) taken += use();
    close(ends[0]), close(ends[1]);
  }
  printf("%ld\n", taken);
  return 0;
}
