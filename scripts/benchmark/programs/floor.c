/* usage: floor SECONDS THREADS STACK_BYTES
 *
 * The floor under any reader of THREADS stacks: process_vm_readv of one pointer and STACK_BYTES for each thread, with
 * nothing done to what was read. The bytes lie in a child process, each stack on pages of its own as a
 * datastack_chunk does. All are read into the same buffers, which only makes it faster.
 * Prints the stacks read and the CPU seconds that it took. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, THREADS_PER_CALL = 500 /* two vectors each, and the kernel takes 1024 */ };

static double monotonic_s(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

int main(int argc, char **argv) {
  if (argc != 4) return 2;
  double seconds = atof(argv[1]);
  size_t threads = strtoul(argv[2], NULL, 10), stack_bytes = strtoul(argv[3], NULL, 10);
  if (threads < 1 || stack_bytes < 1) return 2;

  /* For each thread one page with its pointer (its PyThreadState), then its stack. */
  size_t stride = PAGE + (stack_bytes + PAGE - 1) / PAGE * PAGE, total = threads * stride;
  char *memory = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return 1;
  int ready[2];
  if (pipe(ready) != 0) return 1;
  pid_t child = fork();
  if (child < 0) return 1;
  if (child == 0) {
    memset(memory, 1, total);
    if (write(ready[1], "", 1) != 1) _exit(1);
    for (;;) pause();
  }
  char byte;
  if (read(ready[0], &byte, 1) != 1) return 1;

  uint64_t pointer;
  char *stack = malloc(stack_bytes);
  struct iovec *local = calloc(2 * threads, sizeof *local), *remote = calloc(2 * threads, sizeof *remote);
  if (!stack || !local || !remote) return 1;
  for (size_t i = 0; i < threads; i++) {
    local[2 * i] = (struct iovec){&pointer, sizeof pointer};
    local[2 * i + 1] = (struct iovec){stack, stack_bytes};
    remote[2 * i] = (struct iovec){memory + i * stride, sizeof pointer};
    remote[2 * i + 1] = (struct iovec){memory + i * stride + PAGE, stack_bytes};
  }

  uint64_t stacks = 0;
  int failed = 0;
  double end = monotonic_s() + seconds;
  for (unsigned pass = 0; !failed && (pass % 64 != 0 || monotonic_s() < end); pass++) {
    for (size_t i = 0; i < threads && !failed; i += THREADS_PER_CALL) {
      size_t count = threads - i < THREADS_PER_CALL ? threads - i : THREADS_PER_CALL;
      ssize_t got = process_vm_readv(child, local + 2 * i, 2 * count, remote + 2 * i, 2 * count, 0);
      failed = got != (ssize_t)(count * (sizeof pointer + stack_bytes));
    }
    stacks += threads;
  }
  if (failed) perror("process_vm_readv");
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  printf("%llu %.6f\n", (unsigned long long)stacks,
         (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
             (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6);
  return failed;
}
