#include "freeze_target.h"

#include <stdarg.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

/* An agent is killed at each of the moments that there are: before and after each call with which
 * it could change something in the target. */

static uint64_t deadly; /* the call at which we die; 0: none */

static void come_to_call(void)
{
    if (deadly && ++target->calls == deadly)
        kill(getpid(), SIGKILL);
}

long __real_ptrace(int request, ...);
long __wrap_ptrace(int request, ...);
ssize_t __real_process_vm_writev(pid_t, const struct iovec *, unsigned long, const struct iovec *,
                                 unsigned long, unsigned long);
ssize_t __wrap_process_vm_writev(pid_t, const struct iovec *, unsigned long, const struct iovec *,
                                 unsigned long, unsigned long);

long __wrap_ptrace(int request, ...)
{
    va_list rest;
    va_start(rest, request);
    pid_t pid = va_arg(rest, pid_t);
    void *address = va_arg(rest, void *), *data = va_arg(rest, void *);
    va_end(rest);
    come_to_call();
    long result = __real_ptrace(request, pid, address, data);
    int error = errno;
    come_to_call();
    errno = error;
    return result;
}

ssize_t __wrap_process_vm_writev(pid_t pid, const struct iovec *local, unsigned long locals,
                                 const struct iovec *remote, unsigned long remotes,
                                 unsigned long flags)
{
    come_to_call();
    ssize_t result = __real_process_vm_writev(pid, local, locals, remote, remotes, flags);
    int error = errno;
    come_to_call();
    errno = error;
    return result;
}

/* All general registers, vector registers and the flags hold what was put there. */
static bool registers_keep(void)
{
#ifdef __x86_64__
    uint64_t wrong;
    __asm__ volatile("mov %1, %%r8\n\tmov %%r8, %%r9\n\tmov %%r8, %%r10\n\tmov %%r8, %%r11\n\t"
                     "mov %%r8, %%r12\n\tmov %%r8, %%r13\n\tmov %%r8, %%r14\n\tmov %%r8, %%r15\n\t"
                     "mov %%r8, %%rax\n\tmov %%r8, %%rdx\n\tmov %%r8, %%rsi\n\tmov %%r8, %%rdi\n\t"
                     "movq %%r8, %%xmm0\n\tmovq %%r8, %%xmm7\n\tmovq %%r8, %%xmm15\n\t"
                     "fldpi\n\t"
                     "mov $20000, %%ecx\n\tstd\n"
                     "1:\tdec %%ecx\n\tjnz 1b\n\t"
                     "pushfq\n\tcld\n\tpopq %%rcx\n\tshr $10, %%rcx\n\tand $1, %%rcx\n\t"
                     "xor $1, %%rcx\n\t"
                     "xor %1, %%r9\n\tor %%r9, %%rcx\n\txor %1, %%r10\n\tor %%r10, %%rcx\n\t"
                     "xor %1, %%r11\n\tor %%r11, %%rcx\n\txor %1, %%r12\n\tor %%r12, %%rcx\n\t"
                     "xor %1, %%r13\n\tor %%r13, %%rcx\n\txor %1, %%r14\n\tor %%r14, %%rcx\n\t"
                     "xor %1, %%r15\n\tor %%r15, %%rcx\n\txor %1, %%rax\n\tor %%rax, %%rcx\n\t"
                     "xor %1, %%rdx\n\tor %%rdx, %%rcx\n\txor %1, %%rsi\n\tor %%rsi, %%rcx\n\t"
                     "xor %1, %%rdi\n\tor %%rdi, %%rcx\n\txor %1, %%r8\n\tor %%r8, %%rcx\n\t"
                     "movq %%xmm0, %%r8\n\txor %1, %%r8\n\tor %%r8, %%rcx\n\t"
                     "movq %%xmm7, %%r8\n\txor %1, %%r8\n\tor %%r8, %%rcx\n\t"
                     "movq %%xmm15, %%r8\n\txor %1, %%r8\n\tor %%r8, %%rcx\n\t"
                     "fldpi\n\tfcomip %%st(1), %%st\n\tfstp %%st(0)\n\tsetne %%r8b\n\t"
                     "movzbl %%r8b, %%r8d\n\tor %%r8, %%rcx\n\tmov %%rcx, %0"
                     : "=b"(wrong)
                     : "b"(UINT64_C(0x5a17c0de8badf00d))
                     : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
                       "r14", "r15", "xmm0", "xmm7", "xmm15", "st", "cc", "memory");
    return !wrong;
#else
    return true;
#endif
}

static void compute(void)
{
    for (;;) {
        if (!registers_keep())
            target->errors++;
        turn(0);
    }
}

/* Waits in a call that the kernel makes anew when it was interrupted. */
static void read_bytes(void)
{
    for (char byte;;) {
        turn(0);
        if (read(target->pipe[0], &byte, 1) != 1)
            target->errors++;
    }
}

/* Waits in one that it resumes. An agent that is killed may cut it short. */
static void sleep_on(void)
{
    for (;;) {
        turn(0);
        if (nanosleep(&(struct timespec){.tv_nsec = 3000000}, NULL) && errno != EINTR)
            target->errors++;
    }
}

static void count_signal(int number)
{
    (void)number;
    target->signals++;
}

/* Each signal that it sends itself is delivered before the call for it returns. */
static void signal_itself(void)
{
    struct sigaction action = {.sa_handler = count_signal, .sa_flags = SA_NODEFER};
    sigaction(SIGUSR1, &action, NULL);
    for (;;) {
        turn(0);
        uint64_t from = target->signals;
        if (syscall(SYS_tgkill, getpid(), getpid(), SIGUSR1) || target->signals != from + 1)
            target->errors++;
    }
}

static bool all_are_dead(const int32_t *pids, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (!status_is(pids[i], "State", "Z"))
            return false;
    return true;
}

static void check_unharmed(void)
{
    enum { LIMIT = 64 };
    int32_t left[LIMIT];
    uint32_t count;
    while (!status_is(target->pid, "TracerPid", "0") || status_is(target->pid, "State", "t"))
        sched_yield();
    for (int i = 0; i < 2; i++) { /* a turn that begins now ends */
        uint64_t from = target->counts[0];
        CHECK(write(target->pipe[1], "x", 1) == 1);
        while (target->counts[0] == from)
            sched_yield();
    }
    CHECK_EQUAL(target->errors, 0);
    CHECK(status_is(target->pid, "SigBlk", "0000000000000000"));
    do {
        count = children(left, LIMIT);
        CHECK_EQUAL(target->rogues, 0);
    } while (!all_are_dead(left, count));
    CHECK(count <= 1);
    /* The next freeze removes the zombie. */
    freeze_options options = make_options(ONLOOKER_FREEZE_SNAPSHOT);
    options.leftovers = left;
    options.leftover_count = count;
    freeze_report report = freeze_once(&options);
    CHECK_EQUAL(report.outcome, ONLOOKER_FROZEN);
    CHECK_EQUAL(report.zombies, 0);
    CHECK_EQUAL(children(left, LIMIT), 0);
}

static void kill_everywhere(void (*body)(void))
{
    start_target(body);
    for (uint64_t moment = 1;; moment++) {
        target->calls = 0;
        pid_t agent = fork();
        CHECK(agent >= 0);
        if (!agent) {
            freeze_options options = make_options(ONLOOKER_FREEZE_SNAPSHOT);
            options.own_child = false;
            deadly = moment;
            freeze_once(&options);
            _exit(0);
        }
        int status;
        CHECK_EQUAL(waitpid(agent, &status, 0), agent);
        check_unharmed();
        if (!status) { /* there is no such moment any more */
            CHECK(moment > 40);
            break;
        }
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    }
    end_target();
}

TEST(killed_at_each_call_a_computing_target_goes_on)
{
    kill_everywhere(compute);
}

TEST(killed_at_each_call_a_reading_target_goes_on)
{
    kill_everywhere(read_bytes);
}

TEST(killed_at_each_call_a_sleeping_target_goes_on)
{
    kill_everywhere(sleep_on);
}

TEST(killed_at_each_call_a_target_loses_no_signal)
{
    kill_everywhere(signal_itself);
}
