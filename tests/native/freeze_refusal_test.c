#include "freeze_target.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/ptrace.h>
#include <sys/resource.h>

/* What cannot be frozen, or ends meanwhile: it goes on, and is its parent's to bury. */

static void count_on(void)
{
    for (;;)
        turn(0);
}

static freeze_report freeze_badly(int how, int outcome)
{
    freeze_options options = make_options(how);
    freeze_report report = freeze_once(&options);
    CHECK_EQUAL(report.outcome, outcome);
    CHECK(!report.child && !report.held);
    return report;
}

static void check_free(void)
{
    int32_t child;
    CHECK(status_is(target->pid, "TracerPid", "0"));
    CHECK_EQUAL(children(&child, 1), 0);
    await_turns(0, 2);
}

TEST(another_tracer_is_respected)
{
    start_target(count_on);
    pid_t tracer = fork();
    CHECK(tracer >= 0);
    if (!tracer) {
        target->flag = !ptrace(PTRACE_SEIZE, target->pid, NULL, NULL);
        for (;;)
            pause();
    }
    while (!target->flag)
        sched_yield();
    for (int how = ONLOOKER_FREEZE_SNAPSHOT; how <= ONLOOKER_FREEZE_STOP; how++) {
        freeze_report report = freeze_badly(how, ONLOOKER_FREEZE_REFUSED);
        CHECK_EQUAL(report.error, EPERM);
        CHECK_EQUAL(report.tid, target->pid);
        await_turns(0, 2);
    }
    kill(tracer, SIGKILL);
    CHECK_EQUAL(waitpid(tracer, NULL, 0), tracer);
    freeze_options options = make_options(ONLOOKER_FREEZE_SNAPSHOT);
    CHECK_EQUAL(freeze_once(&options).outcome, ONLOOKER_FROZEN);
    check_free();
    end_target();
}

TEST(one_freeze_at_a_time)
{
    start_target(count_on);
    freeze_options options = make_options(ONLOOKER_FREEZE_STOP);
    freeze *frozen = begin_freeze(&options);
    CHECK_EQUAL(freeze_badly(ONLOOKER_FREEZE_STOP, ONLOOKER_FREEZE_TRACED).tid, target->pid);
    CHECK(status_is(target->pid, "State", "t"));
    freeze_close(frozen);
    check_free();
    /* Two snapshots may live at the same time. */
    options.how = ONLOOKER_FREEZE_SNAPSHOT;
    freeze *first = begin_freeze(&options), *second = begin_freeze(&options);
    freeze_report reports[2];
    freeze_close(first);
    freeze_look(second, &reports[1]);
    CHECK_EQUAL(reports[1].outcome, ONLOOKER_FROZEN);
    freeze_close(second);
    check_free();
    end_target();
}

static void stay_in_vfork(void)
{
    for (;;) {
        turn(0);
        while (target->flag) {
            pid_t child = vfork();
            if (!child) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                target->counts[1]++;
                while (target->flag)
                    ;
                _exit(0);
            }
            waitpid(child, NULL, 0);
        }
    }
}

TEST(a_thread_that_does_not_stop_is_named_and_all_go_on)
{
    start_target(stay_in_vfork);
    target->flag = 1;
    while (!target->counts[1])
        sched_yield();
    freeze_options options = make_options(ONLOOKER_FREEZE_SNAPSHOT);
    options.stop_limit_ns = 20000000;
    for (int how = ONLOOKER_FREEZE_SNAPSHOT; how <= ONLOOKER_FREEZE_STOP; how++) {
        options.how = how;
        freeze_report report = freeze_once(&options);
        CHECK_EQUAL(report.outcome, ONLOOKER_FREEZE_STUCK);
        CHECK_EQUAL(report.tid, target->pid);
        while (!status_is(target->pid, "TracerPid", "0")) /* our thread is about to end */
            sched_yield();
    }
    target->flag = 0;
    await_turns(0, 2);
    end_target();
}

static void wait_for_flag_and_end(void)
{
    for (;;) {
        if (target->flag)
            _exit(42);
        turn(0);
    }
}

TEST(a_target_that_ends_meanwhile_is_its_parents_to_bury)
{
    int ended = 0;
    for (int i = 0; i < 60; i++) {
        int status;
        start_target(wait_for_flag_and_end);
        freeze_options options =
            make_options(i % 2 ? ONLOOKER_FREEZE_STOP : ONLOOKER_FREEZE_SNAPSHOT);
        target->flag = 1; /* so it ends before, in or after the next lines */
        for (uint64_t spin = check_random(20000); spin; spin--)
            __asm__ volatile("");
        freeze_report report = freeze_once(&options);
        CHECK(report.outcome == ONLOOKER_FROZEN || report.outcome == ONLOOKER_FREEZE_GONE ||
              report.outcome == ONLOOKER_FREEZE_NO_CLONE);
        ended += report.outcome == ONLOOKER_FREEZE_GONE;
        CHECK_EQUAL(waitpid(target->pid, &status, 0), target->pid);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 42);
        end_target();
    }
    CHECK(ended > 0);
}

TEST(a_target_killed_while_frozen)
{
    for (int how = ONLOOKER_FREEZE_SNAPSHOT; how <= ONLOOKER_FREEZE_STOP; how++) {
        int status;
        start_target(count_on);
        freeze_options options = make_options(how);
        freeze *frozen = begin_freeze(&options);
        freeze_report report;
        freeze_look(frozen, &report);
        CHECK_EQUAL(report.outcome, ONLOOKER_FROZEN);
        CHECK(!kill(target->pid, SIGKILL));
        CHECK_EQUAL(waitpid(target->pid, &status, 0), target->pid);
        CHECK(WIFSIGNALED(status));
        freeze_close(frozen);
        if (report.child)
            CHECK(!status_is(report.child, "State", "t"));
        end_target();
    }
}

static void filter_calls(void)
{
    struct sock_filter allow[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog program = {1, allow};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        _exit(1);
    count_on();
}

TEST(no_call_is_made_past_a_filter)
{
    start_target(filter_calls);
    freeze_badly(ONLOOKER_FREEZE_SNAPSHOT, ONLOOKER_FREEZE_NO_THREAD);
    check_free();
    freeze_options options = make_options(ONLOOKER_FREEZE_STOP);
    CHECK_EQUAL(freeze_once(&options).outcome, ONLOOKER_FROZEN);
    check_free();
    end_target();
}

static void have_no_processes_left(void)
{
    struct rlimit none = {1, 1};
    if (setrlimit(RLIMIT_NPROC, &none) || setuid(65534))
        _exit(1);
    count_on();
}

TEST(a_target_that_may_not_have_a_child)
{
    start_target(have_no_processes_left);
    for (int i = 0; i < 20; i++) {
        CHECK_EQUAL(freeze_badly(ONLOOKER_FREEZE_SNAPSHOT, ONLOOKER_FREEZE_NO_CLONE).error, EAGAIN);
        check_free();
    }
    end_target();
}

/* There is none for a child of a pid namespace whose first process has ended (alloc_pid). */
static void have_no_memory_for_a_child(void)
{
    pid_t first = unshare(CLONE_NEWPID) ? -1 : fork();
    if (!first)
        _exit(0);
    if (first < 0 || waitpid(first, NULL, 0) != first)
        _exit(1);
    count_on();
}

TEST(a_target_without_memory_for_a_child)
{
    start_target(have_no_memory_for_a_child);
    for (int i = 0; i < 20; i++) {
        CHECK_EQUAL(freeze_badly(ONLOOKER_FREEZE_SNAPSHOT, ONLOOKER_FREEZE_NO_CLONE).error, ENOMEM);
        check_free();
    }
    freeze_options options = make_options(ONLOOKER_FREEZE_STOP);
    CHECK_EQUAL(freeze_once(&options).outcome, ONLOOKER_FROZEN);
    check_free();
    end_target();
}

TEST(instructions_that_are_not_there)
{
    start_target(count_on);
    for (int i = 0; i < 4; i++) {
        freeze_options options = make_options(ONLOOKER_FREEZE_SNAPSHOT);
        uint64_t *address = i % 2 ? &options.sigreturn : &options.syscall_return;
        *address = i / 2 ? *address + 1 : 8;
        freeze_report report = freeze_once(&options);
        CHECK_EQUAL(report.outcome, ONLOOKER_FREEZE_NO_SITE);
        check_free();
    }
    end_target();
}

#define SMALL_STACK 4096

/* A thread whose stack has room for itself only: all but a page's end cannot be written. */
static void count_on_small_stack(void)
{
#ifdef __x86_64__
    unsigned char *stack =
        mmap(NULL, 2 * SMALL_STACK, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mprotect(stack + SMALL_STACK, SMALL_STACK, PROT_READ | PROT_WRITE))
        _exit(1);
    __asm__ volatile("mov %0, %%rsp\n1:\tlock incq (%1)\n\tjmp 1b"
                     :
                     : "r"(stack + SMALL_STACK + 512), "r"(&target->counts[0])
                     : "memory");
#endif
}

TEST(a_stack_without_room_is_not_written_to)
{
    start_target(count_on_small_stack);
    freeze_badly(ONLOOKER_FREEZE_SNAPSHOT, ONLOOKER_FREEZE_NO_THREAD);
    check_free();
    end_target();
}

TEST(a_freeze_that_never_began)
{
    start_target(count_on);
    freeze_options options = make_options(ONLOOKER_FREEZE_STOP);
    freeze *frozen = freeze_open(&options);
    freeze_end(frozen);
    freeze_close(frozen);
    freeze_close(NULL);
    end_target();
}

TEST(there_is_no_such_process)
{
    make_target();
    target->pid = INT32_MAX;
    freeze_badly(ONLOOKER_FREEZE_SNAPSHOT, ONLOOKER_FREEZE_GONE);
}
