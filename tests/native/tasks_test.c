#include "check.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "tasks.h"

/* A thread of ours that waits until a byte comes, or spins until it is told to end. */
typedef struct worker {
    pthread_t thread;
    const char *name;
    int32_t tid;
    bool spins;
    volatile int ready, ended;
    int wake[2];
} worker;

static void *work(void *argument)
{
    worker *worker = argument;
    char byte;
    if (worker->name)
        prctl(PR_SET_NAME, worker->name);
    worker->tid = (int32_t)syscall(SYS_gettid);
    __atomic_store_n(&worker->ready, 1, __ATOMIC_SEQ_CST);
    while (worker->spins && !__atomic_load_n(&worker->ended, __ATOMIC_RELAXED))
        ;
    while (!worker->spins && read(worker->wake[0], &byte, 1) == 1 && byte == 'w')
        ;
    return NULL;
}

static void start(worker *worker)
{
    CHECK(!pipe(worker->wake));
    CHECK(!pthread_create(&worker->thread, NULL, work, worker));
    while (!__atomic_load_n(&worker->ready, __ATOMIC_SEQ_CST))
        sched_yield();
}

static void end(worker *worker)
{
    __atomic_store_n(&worker->ended, 1, __ATOMIC_SEQ_CST);
    CHECK(write(worker->wake[1], "e", 1) == 1);
    CHECK(!pthread_join(worker->thread, NULL));
    close(worker->wake[0]);
    close(worker->wake[1]);
    /* It is joined when the kernel has cleared its id, which is before it has left /proc. */
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d", worker->tid);
    while (!access(path, F_OK))
        sched_yield();
}

static tasks open_tasks(void)
{
    tasks new = {0};
    CHECK(tasks_init(&new, getpid(), false));
    return new;
}

TEST(a_scan_finds_every_thread)
{
    enum { WORKERS = 20 };
    worker workers[WORKERS] = {0};
    tasks tasks = open_tasks();
    for (uint32_t i = 0; i < WORKERS; i++)
        start(&workers[i]);
    tasks_scan(&tasks);
    CHECK_EQUAL(tasks.count, WORKERS + 1);
    for (uint32_t i = 0; i < WORKERS; i++) {
        task *task = tasks_find(&tasks, workers[i].tid);
        CHECK(task && task->tid == workers[i].tid && task->target_tid == workers[i].tid);
        CHECK(!task->newborn && task->base_ns == task->run_ns);
    }
    CHECK(tasks_find(&tasks, getpid()));
    CHECK_EQUAL(tasks.count, WORKERS + 1);
    for (uint32_t i = 0; i < WORKERS; i++)
        end(&workers[i]);
    tasks_scan(&tasks);
    CHECK_EQUAL(tasks.count, 1);
    tasks_free(&tasks);
}

TEST(other_processes_threads_are_not_found)
{
    tasks tasks = open_tasks();
    CHECK(!tasks_find(&tasks, 0));
    CHECK(!tasks_find(&tasks, -1));
    CHECK(!tasks_find(&tasks, INT32_MIN));
    CHECK(!tasks_find(&tasks, 1));
    CHECK(!tasks_find(&tasks, getppid()));
    CHECK(!tasks_find(&tasks, INT32_MAX));
    CHECK_EQUAL(tasks.count, 0);
    tasks_free(&tasks);
}

TEST(a_process_that_is_not_there_cannot_be_opened)
{
    tasks tasks = {0};
    errno = 0;
    CHECK(!tasks_init(&tasks, INT32_MAX, false));
    CHECK_EQUAL(errno, ENOENT);
    tasks_free(&tasks);
}

TEST(a_threads_name_is_not_its_state)
{
    worker sleeper = {.name = "a) R 1 (b"}, spinner = {.name = ") S (", .spins = true};
    tasks tasks = open_tasks();
    start(&sleeper);
    start(&spinner);
    task *asleep = tasks_find(&tasks, sleeper.tid), *busy = tasks_find(&tasks, spinner.tid);
    CHECK(asleep && busy);
    while (task_on_cpu(&tasks, asleep)) /* on its way to sleep */
        sched_yield();
    for (uint32_t i = 0; i < 1000; i++) {
        CHECK(!task_on_cpu(&tasks, asleep));
        CHECK(task_on_cpu(&tasks, busy));
    }
    end(&sleeper);
    end(&spinner);
    CHECK(!task_on_cpu(&tasks, busy));
    tasks_free(&tasks);
}

/* Waits until TASK is off CPU and has been charged for its last slice: a thread that the kernel
 * calls asleep may still be on its way off the CPU. */
static void wait_asleep(tasks *tasks, task *task)
{
    enum { LOOKS = 20 };
    for (uint32_t looks = 0; looks < LOOKS; looks++) {
        if (!task->asleep) {
            while (task_on_cpu(tasks, task))
                sched_yield();
            task->asleep = true;
            looks = 0;
        }
        CHECK(task_account(tasks, task));
    }
}

TEST(a_thread_that_ran_is_no_longer_asleep)
{
    worker sleeper = {0};
    tasks tasks = open_tasks();
    start(&sleeper);
    task *task = tasks_find(&tasks, sleeper.tid);
    CHECK(task);
    for (uint32_t i = 0; i < 20; i++) {
        wait_asleep(&tasks, task);
        uint64_t slices = task->slices;
        CHECK(write(sleeper.wake[1], "w", 1) == 1);
        while (task->slices == slices)
            CHECK(task_account(&tasks, task));
        CHECK(!task->asleep);
    }
    end(&sleeper);
    tasks_free(&tasks);
}

TEST(an_ended_thread_is_gone_and_kept_for_pythons_sake)
{
    worker first = {0}, second = {0};
    tasks tasks = open_tasks();
    start(&first);
    start(&second);
    tasks_scan(&tasks);
    task *python = tasks_find(&tasks, first.tid);
    CHECK(python && tasks_find(&tasks, second.tid));
    python->python = true;
    end(&first);
    end(&second);
    CHECK(!task_account(&tasks, python));
    CHECK(python->gone);
    CHECK(!tasks_find(&tasks, first.tid));
    tasks_scan(&tasks);
    CHECK_EQUAL(tasks.count, 2);
    CHECK(python->gone && python->tid == first.tid);
    python->python = false;
    tasks_scan(&tasks);
    CHECK_EQUAL(tasks.count, 1);
    tasks_free(&tasks);
}

TEST(a_thread_younger_than_the_recording_owes_all_its_time)
{
    worker old = {.spins = true}, young = {.spins = true};
    tasks tasks = open_tasks();
    start(&old);
    tasks_scan(&tasks);
    start(&young);
    tasks_scan(&tasks);
    task *task = tasks_find(&tasks, young.tid);
    CHECK(task && task->newborn && !task->base_ns && !task->charged_ns);
    while (!task->run_ns)
        CHECK(task_account(&tasks, task));
    task = tasks_find(&tasks, old.tid);
    CHECK(task && !task->newborn && task->charged_ns == task->base_ns);
    end(&old);
    end(&young);
    tasks_free(&tasks);
}

/* The allocations of a map that fail, so many of them from now on; see test_units.py. */
static uint32_t good_allocations = UINT32_MAX;

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);

void *__wrap_malloc(size_t size)
{
    return good_allocations && good_allocations-- ? __real_malloc(size) : NULL;
}

TEST(a_thread_that_found_no_room_left_no_trace)
{
    worker first = {0}, second = {0};
    start(&first);
    start(&second);
    /* Two allocations for each of the two maps. */
    for (uint32_t allocations = 0; allocations < 4; allocations++) {
        tasks tasks = open_tasks();
        good_allocations = allocations;
        CHECK(!tasks_find(&tasks, first.tid));
        good_allocations = UINT32_MAX;
        CHECK_EQUAL(tasks.count, 0);
        /* What the other thread finds is not taken for the one that there was no room for. */
        task *other = tasks_find(&tasks, second.tid);
        CHECK(other && other->tid == second.tid);
        tasks_scan(&tasks);
        CHECK_EQUAL(tasks.count, 3);
        task *again = tasks_find(&tasks, first.tid);
        CHECK(again && again->tid == first.tid);
        tasks_free(&tasks);
    }
    end(&first);
    end(&second);
}

TEST(few_descriptors_are_no_obstacle)
{
    enum { WORKERS = 30, DESCRIPTORS = 180 };
    worker workers[WORKERS] = {0};
    struct rlimit files;
    CHECK(!getrlimit(RLIMIT_NOFILE, &files));
    files.rlim_cur = DESCRIPTORS;
    CHECK(!setrlimit(RLIMIT_NOFILE, &files));
    for (uint32_t i = 0; i < WORKERS; i++)
        start(&workers[i]);
    tasks tasks = open_tasks();
    for (uint32_t round = 0; round < 3; round++) {
        tasks_scan(&tasks);
        CHECK_EQUAL(tasks.count, WORKERS + 1);
        for (uint32_t i = 0; i < WORKERS; i++) {
            task *task = tasks_find(&tasks, workers[i].tid);
            CHECK(task && task_account(&tasks, task));
            task_on_cpu(&tasks, task);
        }
        int highest = dup(0);
        CHECK(highest >= 0 && highest < DESCRIPTORS - 50);
        close(highest);
    }
    for (uint32_t i = 0; i < WORKERS; i++)
        end(&workers[i]);
    tasks_free(&tasks);
}

static uint64_t process_cpu_ns(void)
{
    struct timespec time;
    CHECK(!clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time));
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

TEST(the_process_has_the_time_that_the_kernel_says)
{
    tasks tasks = open_tasks();
    for (uint32_t i = 0; i < 1000; i++) {
        uint64_t before = process_cpu_ns(), between = tasks_process_cpu_ns(&tasks);
        CHECK(before <= between && between <= process_cpu_ns());
    }
    tasks_free(&tasks);
}

/* Starts a process that is number 1 of a pid namespace and waits for a byte from GO. Its parent is
 * a child of ours, since who has left a pid namespace makes no more threads. */
static int32_t start_in_namespace(int go)
{
    int tell[2];
    int32_t inner;
    CHECK(!pipe(tell));
    pid_t outer = fork();
    CHECK(outer >= 0);
    if (outer) {
        CHECK(read(tell[0], &inner, sizeof inner) == sizeof inner);
        return inner;
    }
    inner = unshare(CLONE_NEWPID) ? -1 : fork();
    if (!inner) {
        char byte;
        _exit((int)read(go, &byte, 1));
    }
    if (write(tell[1], &inner, sizeof inner) == sizeof inner && inner > 0)
        waitpid(inner, NULL, 0);
    _exit(0);
}

TEST(threads_of_another_pid_namespace_are_found_by_its_ids)
{
    int go[2];
    CHECK(!pipe(go));
    int32_t child = start_in_namespace(go[0]);
    if (child < 0)
        check_skip("no pid namespace may be made here");
    tasks tasks = {0};
    CHECK(tasks_init(&tasks, child, true));
    task *task = tasks_find(&tasks, 1);
    CHECK(task);
    CHECK_EQUAL(task->tid, child);
    CHECK_EQUAL(task->target_tid, 1);
    CHECK(!tasks_find(&tasks, child));
    CHECK(task_account(&tasks, task));
    CHECK(!kill(child, SIGKILL));
    CHECK(wait(NULL) > 0);
    CHECK(!task_account(&tasks, task));
    CHECK(!tasks_find(&tasks, 1));
    tasks_free(&tasks);
}
