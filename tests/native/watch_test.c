#include "watch_target.h"

static uint64_t counted(const agent *agent)
{
    uint32_t count;
    uint64_t total = 0;
    watch_hold(agent->watch);
    const row *rows = recorder_rows(agent->recorder, &count);
    for (uint32_t i = 0; i < count; i++)
        total += rows[i].count;
    CHECK_EQUAL(total, recorder_counters(agent->recorder)->samples);
    watch_release(agent->watch);
    return total;
}

static bool is_free(int32_t pid)
{
    char command[128];
    snprintf(command, sizeof command, "grep -q 'TracerPid:.*[^0-9]0$' /proc/%d/status", pid);
    return system(command) == 0;
}

TEST(every_thread_is_counted_and_runs)
{
    enum { EACH = 300 };
    for (int own_child = 0; own_child < 2; own_child++) {
        start(own_child, 0);
        agent agent = open_agent(own_child);
        uint32_t present;
        CHECK_EQUAL(agent.error, 0);
        watch_present(agent.watch, &present);
        CHECK_EQUAL(present, 1 + CREATORS + SLEEPERS);
        target->wanted = EACH;
        /* A thread may run before its creator's stop is seen. */
        while (target->ran < CREATORS * EACH || counted(&agent) < CREATORS * EACH)
            usleep(100);
        CHECK_EQUAL(counted(&agent), CREATORS * EACH);
        watch_end(agent.watch);
        target->wanted = UINT64_MAX;
        check_free();
        CHECK_EQUAL(counted(&agent), CREATORS * EACH);
        close_agent(&agent);
        end_target();
    }
}

TEST(watches_begin_and_end_unnoticed)
{
    start(false, UINT64_MAX);
    for (int i = 0; i < 40; i++) {
        target->sent += send_signals(20);
        agent agent = open_agent(false);
        CHECK_EQUAL(agent.error, 0);
        target->sent += send_signals(20);
        if (i % 2)
            await_creations();
        target->sent += send_signals(20);
        close_agent(&agent);
        check_free();
    }
    while (target->signals < target->sent)
        usleep(100);
    CHECK_EQUAL(target->signals, target->sent);
    end_target();
}

static void await_stop(void)
{
    /* Twice: a thread that began while the first list was made is in the second. */
    while (!all_are("State", "tT") || !all_are("State", "tT"))
        usleep(100);
}

TEST(a_stopped_job_stays_stopped)
{
    start(false, UINT64_MAX);
    for (int i = 0; i < 10; i++) {
        agent agent = open_agent(false);
        CHECK_EQUAL(agent.error, 0);
        kill(target->pid, SIGSTOP);
        await_stop();
        uint64_t ran = target->ran;
        if (i % 2) { /* it ends while the job is stopped */
            close_agent(&agent);
            while (!all_are("State", "T"))
                usleep(100);
        }
        usleep(1000);
        CHECK_EQUAL(target->ran, ran);
        kill(target->pid, SIGCONT);
        await_creations();
        if (!(i % 2))
            close_agent(&agent);
        await_creations();
    }
    /* One that begins while the job is stopped. */
    kill(target->pid, SIGSTOP);
    await_stop();
    agent agent = open_agent(false);
    CHECK_EQUAL(agent.error, 0);
    uint64_t ran = target->ran;
    usleep(1000);
    CHECK_EQUAL(target->ran, ran);
    kill(target->pid, SIGCONT);
    await_creations();
    CHECK(counted(&agent) > 0);
    close_agent(&agent);
    await_creations();
    end_target();
}

TEST(a_target_that_ends_is_its_parents_to_bury)
{
    for (int i = 0; i < 20; i++) {
        bool own_child = i % 2;
        start(own_child, UINT64_MAX);
        agent agent = open_agent(own_child);
        CHECK_EQUAL(agent.error, 0);
        if (i % 4 < 2)
            target->does = EXITS;
        else
            kill(target->pid, SIGKILL);
        CHECK_EQUAL(watch_run(agent.watch, UINT64_MAX), ONLOOKER_GONE);
        if (own_child) {
            watch_end(agent.watch);
            int status;
            CHECK_EQUAL(waitpid(target->pid, &status, 0), target->pid);
            CHECK(i % 4 < 2 ? WIFEXITED(status) && WEXITSTATUS(status) == 7
                            : WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        } else {
            while (!target->reaped) /* while we still watch */
                usleep(100);
            CHECK_EQUAL(target->reaped, 1);
        }
        close_agent(&agent);
        end_target();
    }
}

TEST(another_program_is_let_go)
{
    for (int i = 0; i < 10; i++) {
        start(i % 2, UINT64_MAX);
        agent agent = open_agent(i % 2);
        CHECK_EQUAL(agent.error, 0);
        target->does = EXECUTES;
        CHECK_EQUAL(watch_run(agent.watch, UINT64_MAX), ONLOOKER_GONE);
        watch_end(agent.watch);
        CHECK(is_free(target->pid));
        CHECK(!kill(target->pid, 0));
        close_agent(&agent);
        end_target();
    }
}

TEST(processes_are_no_threads)
{
    start(false, 0);
    agent agent = open_agent(false);
    CHECK_EQUAL(agent.error, 0);
    target->does = CLONES;
    while (!target->other)
        usleep(100);
    CHECK(is_free(target->other));
    CHECK_EQUAL(counted(&agent), 0);
    kill(target->other, SIGKILL);
    close_agent(&agent);
    end_target();
}

TEST(a_thread_has_one_tracer)
{
    start(false, UINT64_MAX);
    agent first = open_agent(false), second = open_agent(false);
    CHECK_EQUAL(first.error, 0);
    CHECK_EQUAL(second.error, EPERM);
    close_agent(&second);
    uint64_t before = counted(&first);
    await_creations();
    CHECK(counted(&first) > before);
    close_agent(&first);
    check_free();
    agent third = open_agent(false);
    CHECK_EQUAL(third.error, 0);
    close_agent(&third);
    check_free();
    end_target();
}
