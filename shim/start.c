/* What shim.c uses of a C library, on x86-64 Linux: the shim is started once for each call, and the start of a static glibc takes
 * longer than all that the shim does (it asks what the processor can do, which a virtual machine answers slowly, and picks
 * functions by it). Nothing here can do more than shim.c needs of it: `vsnprintf` knows %s, %d and %lld, and there are no threads. */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int error;
char **environ;
uintptr_t __stack_chk_guard; /* -mstack-protector-guard=global: there is no thread-local storage */

int main(int argc, char **argv);
int *__errno_location(void) { return &error; }

/* The kernel's answer to a system call as the C library gives it: -1 with errno where it failed. */
static long sys(long number, long a, long b, long c, long d) {
  long answer;
  register long fourth __asm__("r10") = d;
  __asm__ volatile("syscall" : "=a"(answer) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(fourth) : "rcx", "r11", "memory");
  return answer < 0 && answer > -4096 ? error = (int)-answer, -1 : answer;
}

void _exit(int code) {
  for (;;) sys(SYS_exit_group, code, 0, 0, 0);
}

void __stack_chk_fail(void) {
  static const char why[] = "stack smashing detected\n";
  sys(SYS_write, 2, (long)why, sizeof why - 1, 0);
  _exit(127);
}

/* From the stack that the kernel made: argc, argv, 0, variables, 0, auxiliary values. The guard comes from its random bytes. */
__attribute__((used, no_stack_protector)) static void start(long *stack) {
  char **argv = (char **)(stack + 1);
  environ = argv + *stack + 1;
  char **end = environ;
  while (*end) end++;
  for (const Elf64_auxv_t *one = (Elf64_auxv_t *)(end + 1); one->a_type != AT_NULL; one++)
    if (one->a_type == AT_RANDOM) memcpy(&__stack_chk_guard, (void *)one->a_un.a_val, sizeof __stack_chk_guard);
  __stack_chk_guard &= ~(uintptr_t)0xff; /* no text that runs over can write it */
  _exit(main((int)*stack, argv));
}

__asm__(".globl _start\n_start: xor %ebp, %ebp\n mov %rsp, %rdi\n and $-16, %rsp\n call start\n hlt\n");

ssize_t read(int fd, void *at, size_t len) { return sys(SYS_read, fd, (long)at, (long)len, 0); }
ssize_t write(int fd, const void *at, size_t len) { return sys(SYS_write, fd, (long)at, (long)len, 0); }
int close(int fd) { return (int)sys(SYS_close, fd, 0, 0, 0); }
int poll(struct pollfd *all, nfds_t many, int ms) { return (int)sys(SYS_poll, (long)all, (long)many, ms, 0); }
off_t lseek(int fd, off_t to, int whence) { return sys(SYS_lseek, fd, to, whence, 0); }
int dup2(int from, int to) { return (int)sys(SYS_dup2, from, to, 0, 0); }
int pipe2(int ends[2], int flags) { return (int)sys(SYS_pipe2, (long)ends, flags, 0, 0); }
int memfd_create(const char *name, unsigned flags) { return (int)sys(SYS_memfd_create, (long)name, flags, 0, 0); }
int socket(int domain, int type, int protocol) { return (int)sys(SYS_socket, domain, type, protocol, 0); }
int connect(int fd, const struct sockaddr *to, socklen_t len) { return (int)sys(SYS_connect, fd, (long)to, len, 0); }
ssize_t readlink(const char *path, char *at, size_t len) { return sys(SYS_readlink, (long)path, (long)at, (long)len, 0); }
int stat(const char *path, struct stat *found) { return (int)sys(SYS_stat, (long)path, (long)found, 0, 0); }
int clock_gettime(clockid_t id, struct timespec *now) { return (int)sys(SYS_clock_gettime, id, (long)now, 0, 0); }
int nanosleep(const struct timespec *t, struct timespec *left) { return (int)sys(SYS_nanosleep, (long)t, (long)left, 0, 0); }
pid_t fork(void) { return (pid_t)sys(SYS_fork, 0, 0, 0, 0); }
int setpgid(pid_t pid, pid_t group) { return (int)sys(SYS_setpgid, pid, group, 0, 0); }
int kill(pid_t pid, int number) { return (int)sys(SYS_kill, pid, number, 0, 0); }
pid_t waitpid(pid_t pid, int *status, int options) { return (pid_t)sys(SYS_wait4, pid, (long)status, options, 0); }

int execve(const char *path, char *const argv[], char *const variables[]) {
  return (int)sys(SYS_execve, (long)path, (long)argv, (long)variables, 0);
}

unsigned sleep(unsigned seconds) {
  struct timespec left = { .tv_sec = seconds };
  return nanosleep(&left, &left) ? (unsigned)left.tv_sec : 0;
}

/* The one further argument of these three. */
#define NEXT(type) ({ va_list args; va_start(args, last); type next = va_arg(args, type); va_end(args); next; })

int open(const char *path, int last, ...) {
  return (int)sys(SYS_open, (long)path, last, last & O_CREAT ? NEXT(int) : 0, 0);
}

int fcntl(int fd, int last, ...) { return (int)sys(SYS_fcntl, fd, last, NEXT(int), 0); }
int prctl(int last, ...) { return (int)sys(SYS_prctl, last, NEXT(long), 0, 0); }

/* Only to ignore one, or to have the kernel's default: a handler would need a way back. */
sighandler_t signal(int number, sighandler_t what) {
  struct { sighandler_t what; unsigned long flags; void *back; uint64_t mask; } wanted = { .what = what };
  return sys(SYS_rt_sigaction, number, (long)&wanted, 0, sizeof wanted.mask) ? SIG_ERR : SIG_DFL;
}

void *memcpy(void *restrict to, const void *restrict from, size_t len) {
  void *at = to;
  __asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(len)::"memory");
  return to;
}

void *memset(void *to, int byte, size_t len) {
  for (size_t i = 0; i < len; i++) ((char *)to)[i] = (char)byte;
  return to;
}

int memcmp(const void *one, const void *other, size_t len) {
  const unsigned char *a = one, *b = other;
  for (; len; len--, a++, b++) if (*a != *b) return *a - *b;
  return 0;
}

size_t strlen(const char *text) {
  size_t len = 0;
  while (text[len]) len++;
  return len;
}

int strncmp(const char *one, const char *other, size_t max) {
  for (; max && *one && *one == *other; one++, other++) max--;
  return max ? *one - *other : 0;
}

int strcmp(const char *one, const char *other) { return strncmp(one, other, SIZE_MAX); }

char *strchr(const char *text, int c) {
  while (*text && *text != (char)c) text++;
  return *text == (char)c ? (char *)text : NULL;
}

char *strrchr(const char *text, int c) {
  const char *at = text + strlen(text);
  while (at > text && *at != (char)c) at--;
  return *at == (char)c ? (char *)at : NULL;
}

/* Of decimal numbers without a sign. */
long strtol(const char *text, char **end, int base) {
  long n = 0;
  while (*text == ' ' || *text == '\n') text++;
  for (; *text >= '0' && *text <= '9' && n < 100000000; text++) n = n * base + (*text - '0');
  *end = (char *)text;
  return n;
}

char *getenv(const char *name) {
  size_t len = strlen(name);
  for (char **one = environ; *one; one++) if (!strncmp(*one, name, len) && (*one)[len] == '=') return *one + len + 1;
  return NULL;
}

/* What a socket and the execution of a plugin can answer; the number for all else. */
char *strerror(int number) {
  static const struct { int number; const char *text; } known[] = {
    { EPERM, "Operation not permitted" }, { ENOENT, "No such file or directory" }, { EIO, "Input/output error" },
    { E2BIG, "Argument list too long" }, { ENOEXEC, "Exec format error" }, { EAGAIN, "Resource temporarily unavailable" },
    { ENOMEM, "Cannot allocate memory" }, { EACCES, "Permission denied" }, { ENOTDIR, "Not a directory" },
    { EISDIR, "Is a directory" }, { EMFILE, "Too many open files" }, { ENFILE, "Too many open files in system" },
    { ETXTBSY, "Text file busy" }, { ENOSPC, "No space left on device" }, { EPIPE, "Broken pipe" },
    { ELOOP, "Too many levels of symbolic links" }, { EPROTO, "Protocol error" }, { ENOTSOCK, "Socket operation on non-socket" },
    { EPROTOTYPE, "Protocol wrong type for socket" }, { ECONNRESET, "Connection reset by peer" },
    { ETIMEDOUT, "Connection timed out" }, { ECONNREFUSED, "Connection refused" },
  };
  static char other[32];
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) if (known[i].number == number) return (char *)known[i].text;
  return snprintf(other, sizeof other, "error %d", number), other;
}

int vsnprintf(char *at, size_t max, const char *format, va_list args) {
  size_t len = 0;
  for (; *format; format++) {
    char digits[24], *text = digits + sizeof digits - 1;
    *text = 0;
    if (*format != '%') *--text = *format;
    else if (*++format == 's') text = va_arg(args, char *);
    else {
      int is_long = *format == 'l';
      long n = is_long ? va_arg(args, long) : va_arg(args, int);
      unsigned long left = n < 0 ? -(unsigned long)n : (unsigned long)n;
      format += is_long ? 2 : 0;
      do *--text = (char)('0' + left % 10); while (left /= 10);
      if (n < 0) *--text = '-';
    }
    for (; *text; text++, len++) if (len + 1 < max) at[len] = *text;
  }
  if (max) at[len < max ? len : max - 1] = 0;
  return (int)len;
}

int snprintf(char *at, size_t max, const char *format, ...) {
  va_list args;
  va_start(args, format);
  int len = vsnprintf(at, max, format, args);
  va_end(args);
  return len;
}

int dprintf(int fd, const char *format, ...) {
  static char text[8192];
  va_list args;
  va_start(args, format);
  int len = vsnprintf(text, sizeof text, format, args);
  va_end(args);
  if (len >= (int)sizeof text) len = sizeof text - 1;
  return write(fd, text, (size_t)len) == len ? len : -1;
}
