#include "check.h"

#include <unistd.h>

#include "moment.h"

/* How much longer the next read of a process takes, and by what that grows each time. */
static uint64_t delay_ns, growth = 1;

ssize_t __real_process_vm_readv(pid_t, const struct iovec *, unsigned long, const struct iovec *,
                                unsigned long, unsigned long);
ssize_t __wrap_process_vm_readv(pid_t pid, const struct iovec *local, unsigned long locals,
                                const struct iovec *remote, unsigned long remotes,
                                unsigned long flags);

ssize_t __wrap_process_vm_readv(pid_t pid, const struct iovec *local, unsigned long locals,
                                const struct iovec *remote, unsigned long remotes,
                                unsigned long flags)
{
    uint64_t until_ns = monotonic_ns() + delay_ns;
    delay_ns *= growth;
    while (monotonic_ns() < until_ns)
        ;
    return __real_process_vm_readv(pid, local, locals, remote, remotes, flags);
}

static uint64_t words[100000];

static moment begin(void)
{
    moment moment = {.source = memory_open_process(getpid())};
    CHECK(moment.source);
    moment_begin(&moment, MOMENT_FRESH);
    for (uint32_t i = 0; i < 100000; i += 5000) {
        uint64_t word;
        CHECK(moment_word(&moment, (uintptr_t)&words[i], &word) && word == words[i]);
    }
    return moment;
}

/* It holds within so many attempts, and no more once something has changed. */
static void check_holds(moment *moment, uint32_t attempts)
{
    bool held = false;
    for (uint32_t i = 0; i < attempts && !held; i++)
        held = moment_holds(moment);
    CHECK(held);
    words[5000]++;
    for (uint32_t i = 0; i < 10; i++)
        CHECK(!moment_holds(moment));
}

static void end(moment *moment)
{
    memory_close(moment->source);
    moment_free(moment);
}

TEST(a_moment_holds_until_something_changes)
{
    moment moment = begin();
    check_holds(&moment, 1000); /* not each is quick enough on a busy machine */
    end(&moment);
}

TEST(a_slow_machine_is_known_by_being_slow_always)
{
    moment moment = begin();
    delay_ns = 1000000;
    check_holds(&moment, 100);
    end(&moment);
}

TEST(a_read_that_was_held_up_proves_nothing)
{
    moment moment = begin();
    delay_ns = 1000000;
    growth = 2;
    CHECK(!moment_holds(&moment));
    end(&moment);
}
