/* inject.h: a stopped thread of the target makes a system call for us, and nobody can tell.
 *
 * The thread is given the registers of a system call at an instruction that its process has
 * anyhow, and afterwards its own registers again. The danger is in between: if this process is
 * killed there (SIGKILL, the OOM killer), the kernel lets go of the thread, which would go on with
 * our registers and crash. So what it would do then is laid out before: below the red zone of its
 * stack, where a signal's handler would have its frame, lies a frame as the kernel makes for
 * signals, with the thread's own registers, floating point state and signal mask. The instruction
 * is "syscall; ret", and what ret finds is the C library's way out of a signal handler, which has
 * the kernel take the registers from that frame (rt_sigreturn). Alone, the thread restores itself.
 *
 * The same holds for a child that is cloned: it never runs, since it is traced from its birth. But
 * let go, it would return to a frame of its own, whose registers are those of exit_group. Nothing
 * of the program runs in it, no signal handler either: all signals are blocked.
 *
 * At any instant the thread has therefore either its own registers, or such as lead to them:
 *  1. the frames are written: its registers are its own, and memory below the red zone nobody's;
 *  2. the registers are set, then the signal mask: from here on the frame restores both;
 *  3. the mask is set back, then the registers, and only then the bytes where the frames were.
 *
 * Two things are different for a thread that had to restore itself: a sleep or a wait with a
 * timeout that was interrupted ends with EINTR, since rt_sigreturn forgets what was to be resumed
 * (another thread is preferred, therefore), and up to some KiB below its stack pointer differ, as
 * after a signal. */
#ifndef ONLOOKER_INJECT_H
#define ONLOOKER_INJECT_H

#include "tracee.h"

/* Instructions in the target; see freeze_options. */
typedef struct inject_site {
    uint64_t syscall_return;
    uint64_t sigreturn;
} inject_site;

/* How well a stopped thread suits, less is better; INJECT_UNFIT: not at all. */
#define INJECT_UNFIT 3
int inject_fitness(int32_t tid);

/* Whether both instructions are still there. */
bool inject_site_holds(int32_t tid, const inject_site *site);

/* Some system calls that wait fail with EINTR when the thread is stopped. Makes the stopped thread
 * wait again instead, if it has no timeout: how much is left of one, only the kernel knew. It is
 * the kernel that makes it wait, as it does with poll, so a signal that has come by then still
 * interrupts it. */
void inject_resume_wait(int32_t tid);

/* Has THREAD (its last event was TRACEE_STOP) clone its process, as fork does, but with the files
 * shared: what the target closes meanwhile is closed. CHILD is the clone, traced and stopped or
 * about to stop, and *INSIDE the id that the target knows. Returns 0 or an errno: clone's own,
 * EFAULT (no room on the stack), ESRCH (the thread ended), ETIMEDOUT, or ENOTSUP (not on this
 * machine). */
int inject_clone(tracee *thread, const inject_site *site, tracee *child, int32_t *inside);

/* Has THREAD wait for its process's zombie child with this id, without blocking. As above. */
int inject_wait(tracee *thread, const inject_site *site, int32_t inside);

#endif
