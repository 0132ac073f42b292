#include "inject.h"

#include <errno.h>

#include "onlooker_freeze.h"

#ifdef __x86_64__

#include <cpuid.h>
#include <elf.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

/* A fork of a terabyte takes less. */
#define CALL_DEADLINE_NS UINT64_C(60000000000)
#define EVENTS_LIMIT 64

#define CODE_SEGMENT_64 0x33
#define RED_ZONE 128u

/* Results of a system call that mean: interrupted, to be made again (include/linux/errno.h). */
#define ERESTARTSYS 512
#define ERESTARTNOINTR 513
#define ERESTARTNOHAND 514
#define ERESTART_RESTARTBLOCK 516

/* The state that XSAVE saves, as signal frames and ptrace have it (arch/x86/include/uapi/asm/
 * sigcontext.h and ptrace.h): first what FXSAVE saves, whose last bytes are the kernel's, then a
 * header, then whatever else the processor has. */
#define XSTATE_LIMIT 16384u
#define XSTATE_ALIGNMENT 64u
#define XSTATE_SOFTWARE 464
#define XSTATE_HEADER 512
#define XSTATE_EXTENDED 576u
#define XSTATE_LEGACY UINT64_C(3) /* features that lie in FXSAVE's part */
#define XSTATE_FEATURES 63u
#define CPUID_XSTATE 0xdu

/* uc_flags (arch/x86/include/uapi/asm/ucontext.h). */
#define UC_FP_XSTATE 1u
#define UC_SIGCONTEXT_SS 2u
#define UC_STRICT_RESTORE_SS 4u

/* The kernel's sigset_t. */
typedef uint64_t signal_mask;

/* struct rt_sigframe, as far as rt_sigreturn reads it (arch/x86/include/asm/sigframe.h). */
typedef struct signal_frame {
    uint64_t return_to;
    uint64_t flags;
    uint64_t link;
    stack_t stack;
    struct sigcontext context;
    signal_mask mask;
} signal_frame;

#define FRAME_SIZE sizeof(signal_frame)

#define STACK_LIMIT                                                                                \
    (2 * FRAME_SIZE + XSTATE_ALIGNMENT + XSTATE_LIMIT + 64) /* with room to align                  \
                                                             */

typedef struct call {
    tracee *thread;
    const inject_site *site;
    struct user_regs_struct own; /* registers of the thread */
    signal_mask mask;
    uint64_t stack; /* where FRAMES lie in the target; the thread's frame comes first */
    uint64_t child_stack;
    size_t size;
    unsigned char frames[STACK_LIMIT];
    unsigned char saved[STACK_LIMIT]; /* what was there */
    int64_t result;
    int32_t child;
} call;

static int set_registers(int32_t tid, struct user_regs_struct *registers)
{
    return ptrace(PTRACE_SETREGS, tid, NULL, registers) < 0 ? errno : 0;
}

static bool get_registers(int32_t tid, struct user_regs_struct *registers)
{
    return ptrace(PTRACE_GETREGS, tid, NULL, registers) == 0;
}

static bool move_bytes(int32_t tid, uint64_t address, void *bytes, size_t size, bool write)
{
    /* Unlike /proc/PID/mem, these respect what the target itself may read and write there. */
    struct iovec local = {bytes, size}, remote = {(void *)(uintptr_t)address, size};
    ssize_t moved = write ? process_vm_writev(tid, &local, 1, &remote, 1, 0)
                          : process_vm_readv(tid, &local, 1, &remote, 1, 0);
    return moved == (ssize_t)size;
}

/* Whether the thread is in a restartable sequence (rseq(2)), which must be left at its own end. */
static bool in_rseq(int32_t tid, uint64_t ip)
{
    enum { RSEQ_CS = 8 }; /* in struct rseq */
    struct __ptrace_rseq_configuration rseq = {0};
    uint64_t section = 0, bounds[4]; /* struct rseq_cs: version and flags, start, length, abort */
    if (ptrace(PTRACE_GET_RSEQ_CONFIGURATION, tid, (void *)sizeof rseq, &rseq) < 0 ||
        !rseq.rseq_abi_pointer ||
        !move_bytes(tid, rseq.rseq_abi_pointer + RSEQ_CS, &section, sizeof section, false) ||
        !section)
        return false;
    return move_bytes(tid, section, bounds, sizeof bounds, false) && ip - bounds[1] < bounds[2];
}

static bool was_interrupted(const struct user_regs_struct *registers)
{
    int64_t result = (int64_t)registers->rax;
    return (int64_t)registers->orig_rax >= 0 && result <= -ERESTARTSYS &&
           result >= -ERESTART_RESTARTBLOCK;
}

int inject_fitness(int32_t tid)
{
    struct user_regs_struct registers;
    if (!get_registers(tid, &registers) || registers.cs != CODE_SEGMENT_64 || !registers.rsp)
        return INJECT_UNFIT;
    if (was_interrupted(&registers) && (int64_t)registers.rax == -ERESTART_RESTARTBLOCK)
        return 2;
    if ((int64_t)registers.orig_rax >= 0)
        return 0;
    return in_rseq(tid, registers.rip) ? INJECT_UNFIT : 1;
}

bool inject_site_holds(int32_t tid, const inject_site *site)
{
    static const unsigned char syscall_return[] = {0x0f, 0x05, 0xc3};
    static const unsigned char sigreturn[] = {0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05};
    unsigned char found[sizeof sigreturn];
    return move_bytes(tid, site->syscall_return, found, sizeof syscall_return, false) &&
           !memcmp(found, syscall_return, sizeof syscall_return) &&
           move_bytes(tid, site->sigreturn, found, sizeof sigreturn, false) &&
           !memcmp(found, sigreturn, sizeof sigreturn);
}

void inject_resume_wait(int32_t tid)
{
    struct user_regs_struct registers;
    if (!get_registers(tid, &registers) || (int64_t)registers.rax != -EINTR)
        return;
    bool endless = false;
    switch (registers.orig_rax) {
    case SYS_epoll_wait:
    case SYS_epoll_pwait:
        endless = (int32_t)registers.r10 == -1;
        break;
    case SYS_epoll_pwait2:
    case SYS_semtimedop:
        endless = !registers.r10;
        break;
    case SYS_io_getevents:
        endless = !registers.r8;
        break;
    case SYS_rt_sigtimedwait:
        endless = !registers.rdx;
        break;
    case SYS_semop:
        endless = true;
        break;
    }
    if (!endless)
        return;
    registers.rax = (unsigned long)-ERESTARTNOHAND;
    set_registers(tid, &registers);
}

/* The floating point state of the thread as a signal frame has it. Returns its size, 0: failed. */
static size_t get_xstate(int32_t tid, unsigned char *out)
{
    struct iovec into = {out, XSTATE_LIMIT};
    if (ptrace(PTRACE_GETREGSET, tid, (void *)NT_X86_XSTATE, &into) < 0 ||
        into.iov_len < XSTATE_EXTENDED)
        return 0;
    /* ptrace shows every feature there is, a frame may have only what the thread uses. */
    uint64_t features = load_u64(out, XSTATE_HEADER) | XSTATE_LEGACY;
    size_t size = XSTATE_EXTENDED;
    for (unsigned feature = 2; feature < XSTATE_FEATURES; feature++) {
        unsigned length = 0, offset = 0, c, d;
        if (!(features >> feature & 1))
            continue;
        if (!__get_cpuid_count(CPUID_XSTATE, feature, &length, &offset, &c, &d) || !length ||
            (uint64_t)offset + length > into.iov_len)
            return 0;
        if (offset + length > size)
            size = offset + length;
    }
    struct _fpx_sw_bytes software = {
        .magic1 = FP_XSTATE_MAGIC1,
        .extended_size = (uint32_t)size + FP_XSTATE_MAGIC2_SIZE,
        .xstate_bv = features,
        .xstate_size = (uint32_t)size,
    };
    uint32_t end = FP_XSTATE_MAGIC2;
    memcpy(out + XSTATE_SOFTWARE, &software, sizeof software);
    memcpy(out + size, &end, sizeof end);
    return size + sizeof end;
}

/* The registers that the thread goes on with when nobody looks after it: what the kernel itself
 * would make of a system call that it interrupted (arch_do_signal_or_restart). */
static struct user_regs_struct restarted(const struct user_regs_struct *registers)
{
    struct user_regs_struct result = *registers;
    if (was_interrupted(registers)) {
        bool resumes = (int64_t)registers->rax == -ERESTART_RESTARTBLOCK;
        result.rax = resumes ? SYS_restart_syscall : registers->orig_rax;
        result.rip -= 2;
    }
    return result;
}

static void put_frame(unsigned char *out, const inject_site *site,
                      const struct user_regs_struct *registers, signal_mask mask, uint64_t xstate)
{
    signal_frame frame = {
        .return_to = site->sigreturn,
        .flags = UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS | (xstate ? UC_FP_XSTATE : 0),
        /* Flags that do not exist: so the kernel keeps the alternate stack (do_sigaltstack). */
        .stack = {.ss_flags = 0x7f},
        .context =
            {
                .r8 = registers->r8,
                .r9 = registers->r9,
                .r10 = registers->r10,
                .r11 = registers->r11,
                .r12 = registers->r12,
                .r13 = registers->r13,
                .r14 = registers->r14,
                .r15 = registers->r15,
                .rdi = registers->rdi,
                .rsi = registers->rsi,
                .rbp = registers->rbp,
                .rbx = registers->rbx,
                .rdx = registers->rdx,
                .rax = registers->rax,
                .rcx = registers->rcx,
                .rsp = registers->rsp,
                .rip = registers->rip,
                .eflags = registers->eflags,
                .cs = (uint16_t)registers->cs,
                .__pad0 = (uint16_t)registers->ss, /* by UC_SIGCONTEXT_SS */
                .__fpstate_word = xstate,
            },
        .mask = mask,
    };
    memcpy(out, &frame, sizeof frame);
}

/* Lays out the frames below the thread's stack, from low to high: its own, the child's, and its
 * floating point state. A signal's handler would write below its own. */
static int prepare(call *made)
{
    int32_t tid = made->thread->tid;
    if (!get_registers(tid, &made->own) ||
        ptrace(PTRACE_GETSIGMASK, tid, (void *)sizeof made->mask, &made->mask) < 0)
        return errno;
    unsigned char xstate[XSTATE_LIMIT + FP_XSTATE_MAGIC2_SIZE];
    size_t xstate_size = get_xstate(tid, xstate);
    if (!xstate_size)
        return ENOTSUP;
    uint64_t top = made->own.rsp - RED_ZONE;
    uint64_t xstate_at = (top - xstate_size) & ~(uint64_t)(XSTATE_ALIGNMENT - 1);
    made->child_stack = (xstate_at - FRAME_SIZE) & ~UINT64_C(15);
    made->stack = (made->child_stack - FRAME_SIZE) & ~UINT64_C(15);
    made->size = xstate_at + xstate_size - made->stack;
    if (made->own.rsp < made->size + RED_ZONE + PAGE_SIZE || made->size > sizeof made->frames ||
        !move_bytes(tid, made->stack, made->saved, made->size, false))
        return EFAULT;
    struct user_regs_struct own = restarted(&made->own), exits = made->own;
    exits.rax = SYS_exit_group;
    exits.rdi = ONLOOKER_FREEZE_EXIT_STATUS;
    exits.rip = made->site->syscall_return;
    exits.rsp = made->child_stack;
    memcpy(made->frames, made->saved, made->size);
    put_frame(made->frames, made->site, &own, made->mask, xstate_at);
    put_frame(made->frames + (made->child_stack - made->stack), made->site, &exits, ~UINT64_C(0),
              0);
    memcpy(made->frames + (xstate_at - made->stack), xstate, xstate_size);
    return move_bytes(tid, made->stack, made->frames, made->size, true) ? 0 : EFAULT;
}

/* Runs the thread to the end of the system call. */
static int run(call *made)
{
    tracee *thread = made->thread;
    uint64_t until_ns = monotonic_ns() + CALL_DEADLINE_NS;
    bool inside = false;
    struct user_regs_struct now;
    for (int events = 0; events < EVENTS_LIMIT; events++) {
        if (tracee_continue(thread, PTRACE_SYSCALL))
            return ESRCH;
        unsigned long child;
        switch (tracee_wait(thread, until_ns)) {
        case TRACEE_NONE:
            return ETIMEDOUT;
        case TRACEE_GONE:
            return ESRCH;
        case TRACEE_CLONE:
            if (ptrace(PTRACE_GETEVENTMSG, thread->tid, NULL, &child) == 0)
                made->child = (int32_t)child;
            break;
        case TRACEE_SYSCALL:
            inside = !inside;
            if (inside)
                break;
            if (!get_registers(thread->tid, &now))
                return ESRCH;
            made->result = (int64_t)now.rax;
            if (!was_interrupted(&now)) /* else the kernel makes the call once more */
                return 0;
            break;
        case TRACEE_SIGNAL: /* SIGSTOP, which cannot be blocked, then comes the stop itself */
        case TRACEE_STOP:
            break;
        }
    }
    return ETIMEDOUT;
}

/* Gives the thread back what is its own. It must not be where a system call ends: only on the way
 * out of a stop like the one it came from does the kernel see that a call is to be resumed. */
static int restore(call *made)
{
    tracee *thread = made->thread;
    if (ptrace(PTRACE_INTERRUPT, thread->tid, NULL, NULL) < 0 ||
        tracee_continue(thread, PTRACE_CONT))
        return ESRCH;
    switch (tracee_wait_stop(thread, monotonic_ns() + CALL_DEADLINE_NS)) {
    case TRACEE_STOP:
        break;
    case TRACEE_NONE:
        return ETIMEDOUT;
    default:
        return ESRCH;
    }
    if (ptrace(PTRACE_SETSIGMASK, thread->tid, (void *)sizeof made->mask, &made->mask) < 0 ||
        set_registers(thread->tid, &made->own))
        return ESRCH;
    move_bytes(thread->tid, made->stack, made->saved, made->size, true);
    return 0;
}

/* The call NUMBER with the arguments in REGISTERS. */
static int make(call *made, struct user_regs_struct *registers, long number)
{
    int32_t tid = made->thread->tid;
    intptr_t options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE;
    signal_mask all = ~UINT64_C(0);
    registers->rax = (unsigned long)number;
    registers->orig_rax = (unsigned long)-1; /* nothing to be resumed for these registers */
    registers->rip = made->site->syscall_return;
    registers->rsp = made->stack;
    if (ptrace(PTRACE_SETOPTIONS, tid, NULL, (void *)options) < 0)
        return errno;
    int error = set_registers(tid, registers);
    if (error)
        return error;
    if (ptrace(PTRACE_SETSIGMASK, tid, (void *)sizeof all, &all) < 0)
        return errno;
    error = run(made);
    return error ? error : restore(made);
}

int inject_clone(tracee *thread, const inject_site *site, tracee *child, int32_t *inside)
{
    call *made = calloc(1, sizeof *made);
    if (!made)
        return ENOMEM;
    made->thread = thread;
    made->site = site;
    int error = prepare(made);
    if (!error) {
        struct user_regs_struct registers = made->own;
        registers.rdi = CLONE_FILES; /* and no signal at its end */
        registers.rsi = made->child_stack;
        registers.rdx = registers.r10 = registers.r8 = 0;
        error = make(made, &registers, SYS_clone);
    }
    if (!error && made->result < 0)
        error = (int)-made->result;
    *child = (tracee){.tid = made->child, .keep = true};
    *inside = (int32_t)made->result;
    free(made);
    return error;
}

int inject_wait(tracee *thread, const inject_site *site, int32_t inside)
{
    call *made = calloc(1, sizeof *made);
    if (!made)
        return ENOMEM;
    made->thread = thread;
    made->site = site;
    int error = prepare(made);
    if (!error) {
        struct user_regs_struct registers = made->own;
        registers.rdi = (uint32_t)inside;
        registers.rsi = registers.r10 = 0;
        registers.rdx = (unsigned)__WALL | WNOHANG;
        error = make(made, &registers, SYS_wait4);
    }
    if (!error && made->result < 0 && made->result != -ECHILD) /* another agent's has been faster */
        error = (int)-made->result;
    free(made);
    return error;
}

#else

int inject_fitness(int32_t tid)
{
    (void)tid;
    return INJECT_UNFIT;
}

bool inject_site_holds(int32_t tid, const inject_site *site)
{
    (void)tid;
    (void)site;
    return false;
}

void inject_resume_wait(int32_t tid)
{
    (void)tid;
}

int inject_clone(tracee *thread, const inject_site *site, tracee *child, int32_t *inside)
{
    (void)thread;
    (void)site;
    (void)child;
    (void)inside;
    return ENOTSUP;
}

int inject_wait(tracee *thread, const inject_site *site, int32_t inside)
{
    (void)thread;
    (void)site;
    (void)inside;
    return ENOTSUP;
}

#endif
