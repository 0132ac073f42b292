#include "tasks.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define TASK_LIMIT (1u << 17)

/* Descriptors left to the rest of our process, however many threads the target has. */
#define SPARE_DESCRIPTORS 64

bool tasks_init(tasks *tasks, int32_t pid, bool namespaced)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    tasks->pid = pid;
    tasks->namespaced = namespaced;
    struct rlimit files;
    if (!getrlimit(RLIMIT_NOFILE, &files) && files.rlim_cur < INT32_MAX)
        tasks->kept_below = (int)files.rlim_cur - SPARE_DESCRIPTORS;
    else
        tasks->kept_below = INT32_MAX;
    tasks->task_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return tasks->task_fd >= 0;
}

/* Reads /proc/PID/task/TID/NAME through *FD, which stays open if there are descriptors left.
 * Returns the length, or -1 when the thread is gone. */
static ssize_t read_file(const tasks *tasks, int32_t tid, const char *name, int *fd, char *out,
                         size_t size)
{
    int file = *fd;
    if (file < 0) {
        char path[48];
        snprintf(path, sizeof path, "%d/%s", tid, name);
        file = openat(tasks->task_fd, path, O_RDONLY | O_CLOEXEC);
        if (file < 0)
            return -1;
        if (file < tasks->kept_below)
            *fd = file;
    }
    ssize_t length = pread(file, out, size - 1, 0);
    if (file != *fd)
        close(file);
    if (length < 0)
        return -1;
    out[length] = 0;
    return length;
}

/* The thread's id in its own pid namespace: the last one of the line NSpid. */
static int32_t target_tid_of(const tasks *tasks, int32_t tid)
{
    char status[4096];
    int fd = -1;
    if (!tasks->namespaced)
        return tid;
    ssize_t length = read_file(tasks, tid, "status", &fd, status, sizeof status);
    if (fd >= 0)
        close(fd);
    char *line = length > 0 ? strstr(status, "\nNSpid:") : NULL;
    if (!line)
        return tid;
    long last = tid;
    for (char *at = line + 7; *at && *at != '\n';) {
        char *end;
        long value = strtol(at, &end, 10);
        if (end == at)
            break;
        last = value;
        at = end;
    }
    return (int32_t)last;
}

static void close_files(task *task)
{
    if (task->schedstat_fd >= 0)
        close(task->schedstat_fd);
    if (task->stat_fd >= 0)
        close(task->stat_fd);
    if (task->syscall_fd >= 0)
        close(task->syscall_fd);
    task->schedstat_fd = task->stat_fd = task->syscall_fd = -1;
}

bool task_account(tasks *tasks, task *task)
{
    char line[80];
    if (task->gone ||
        read_file(tasks, task->tid, "schedstat", &task->schedstat_fd, line, sizeof line) <= 0) {
        task->gone = true;
        return false;
    }
    char *at;
    uint64_t run_ns = strtoull(line, &at, 10);
    strtoull(at, &at, 10); /* time spent waiting for a CPU */
    uint64_t slices = strtoull(at, NULL, 10);
    if (run_ns != task->run_ns || slices != task->slices)
        task->asleep = task->wait_known = false;
    task->run_ns = run_ns;
    task->slices = slices;
    return true;
}

bool task_on_cpu(tasks *tasks, task *task)
{
    char line[512];
    if (task->gone || read_file(tasks, task->tid, "stat", &task->stat_fd, line, sizeof line) <= 0)
        return false;
    /* The name between the parentheses may itself hold one. */
    const char *at = strrchr(line, ')');
    if (!at || at[1] != ' ' || at[2] != 'R')
        return false;
    /* Behind `) ` is the third field; the CPU is the 39th. */
    at += 2;
    for (int field = 3; at && field < 39; field++)
        at = strchr(at + 1, ' ');
    task->cpu = at ? (int32_t)strtol(at, NULL, 10) : -1;
    task->ours_since = task->cpu == sched_getcpu() ? task->slices : 0;
    return true;
}

static uint32_t wait_of(long syscall, uint64_t first_argument)
{
    switch (syscall) {
    case SYS_futex:
        return ONLOOKER_WAIT_FUTEX;
    case SYS_nanosleep:
    case SYS_clock_nanosleep:
        return ONLOOKER_WAIT_SLEEP;
    case SYS_pselect6:
        return first_argument ? ONLOOKER_WAIT_SELECT : ONLOOKER_WAIT_SLEEP; /* for no file */
    case SYS_ppoll:
        return ONLOOKER_WAIT_POLL;
    case SYS_epoll_pwait:
        return ONLOOKER_WAIT_EPOLL;
    case SYS_accept:
    case SYS_accept4:
    case SYS_connect:
    case SYS_recvfrom:
    case SYS_recvmsg:
    case SYS_recvmmsg:
    case SYS_sendto:
    case SYS_sendmsg:
    case SYS_sendmmsg:
        return ONLOOKER_WAIT_SOCKET;
    case SYS_read:
    case SYS_readv:
    case SYS_pread64:
    case SYS_preadv:
    case SYS_write:
    case SYS_writev:
    case SYS_pwrite64:
    case SYS_pwritev:
    case SYS_sendfile:
    case SYS_splice:
    case SYS_fsync:
    case SYS_fdatasync:
    case SYS_openat:
        return ONLOOKER_WAIT_IO;
    case SYS_wait4:
    case SYS_waitid:
        return ONLOOKER_WAIT_CHILD;
    case SYS_rt_sigtimedwait:
    case SYS_rt_sigsuspend:
        return ONLOOKER_WAIT_SIGNAL;
#ifdef SYS_poll /* newer architectures have only the general forms of these calls */
    case SYS_select:
        return first_argument ? ONLOOKER_WAIT_SELECT : ONLOOKER_WAIT_SLEEP;
    case SYS_poll:
        return ONLOOKER_WAIT_POLL;
    case SYS_epoll_wait:
        return ONLOOKER_WAIT_EPOLL;
    case SYS_open:
        return ONLOOKER_WAIT_IO;
    case SYS_pause:
        return ONLOOKER_WAIT_SIGNAL;
#endif
    default:
        return ONLOOKER_WAIT_OTHER;
    }
}

void task_find_wait(tasks *tasks, task *task)
{
    char line[256], *at;
    if (task->wait_known)
        return;
    task->wait = ONLOOKER_WAIT_OTHER;
    task->waits_at = task->stack_pointer = 0;
    if (task->gone ||
        read_file(tasks, task->tid, "syscall", &task->syscall_fd, line, sizeof line) <= 0)
        return;
    /* Number, six arguments and stack pointer; "running" for a thread that has just woken. */
    long syscall = strtol(line, &at, 10);
    if (at != line && syscall >= 0) {
        task->waits_at = strtoull(at, &at, 16);
        for (int word = 0; word < 6; word++)
            task->stack_pointer = strtoull(at, &at, 16);
        task->wait = wait_of(syscall, task->waits_at);
    }
    task->wait_known = true;
}

static void index_anew(tasks *tasks)
{
    map_clear(&tasks->by_tid);
    map_clear(&tasks->by_target_tid);
    for (uint32_t i = 0; i < tasks->count; i++) {
        /* Cannot fail: the maps had room for more. */
        map_set(&tasks->by_tid, (uint32_t)tasks->items[i]->tid, i);
        map_set(&tasks->by_target_tid, (uint32_t)tasks->items[i]->target_tid, i);
    }
}

static task *add(tasks *tasks, int32_t tid)
{
    uint32_t index = tasks->count;
    if (!array_reserve((void **)&tasks->items, &tasks->capacity, index, sizeof *tasks->items,
                       TASK_LIMIT))
        return NULL;
    task *new = calloc(1, sizeof *new);
    if (!new)
        return NULL;
    *new = (task){.tid = tid,
                  .target_tid = target_tid_of(tasks, tid),
                  .schedstat_fd = -1,
                  .stat_fd = -1,
                  .syscall_fd = -1,
                  .cpu = -1,
                  .record = UINT32_MAX,
                  .python_record = UINT32_MAX,
                  .last_cpu_row = UINT32_MAX,
                  .newborn = tasks->scan > 0,
                  .seen = tasks->scan};
    if (!task_account(tasks, new) || !map_set(&tasks->by_tid, (uint32_t)tid, index) ||
        !map_set(&tasks->by_target_tid, (uint32_t)new->target_tid, index)) {
        index_anew(tasks); /* one of the maps may have it */
        close_files(new);
        free(new);
        return NULL;
    }
    new->base_ns = new->charged_ns = new->newborn ? 0 : new->run_ns;
    tasks->items[tasks->count++] = new;
    return new;
}

static task *find(const tasks *tasks, const map *map, int32_t tid)
{
    uint32_t index = map_get(map, (uint32_t)tid);
    /* An ended thread's id may be a new thread's by now. */
    return index == MAP_ABSENT || tasks->items[index]->gone ? NULL : tasks->items[index];
}

task *tasks_find(tasks *tasks, int32_t target_tid)
{
    if (target_tid <= 0)
        return NULL;
    task *found = find(tasks, &tasks->by_target_tid, target_tid);
    if (found)
        return found;
    if (!tasks->namespaced)
        return add(tasks, target_tid);
    tasks_scan(tasks);
    return find(tasks, &tasks->by_target_tid, target_tid);
}

static void forget_ended(tasks *tasks)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < tasks->count; i++) {
        task *task = tasks->items[i];
        if (task->gone && !task->python) {
            tasks->dead_ns += task->charged_ns - task->base_ns;
            close_files(task);
            free(task);
        } else {
            tasks->items[kept++] = task;
        }
    }
    if (kept == tasks->count)
        return;
    tasks->count = kept;
    index_anew(tasks);
}

void tasks_scan(tasks *tasks)
{
    int fd = openat(tasks->task_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    if (!directory) {
        if (fd >= 0)
            close(fd);
        return;
    }
    uint32_t scan = tasks->scan + 1;
    for (struct dirent *entry; (entry = readdir(directory));) {
        int32_t tid = (int32_t)strtol(entry->d_name, NULL, 10);
        task *task = tid > 0 ? find(tasks, &tasks->by_tid, tid) : NULL;
        if (!task && tid > 0)
            task = add(tasks, tid);
        if (task)
            task->seen = scan;
    }
    closedir(directory);
    tasks->scan = scan;
    for (uint32_t i = 0; i < tasks->count; i++)
        if (tasks->items[i]->seen != scan)
            tasks->items[i]->gone = true;
    forget_ended(tasks);
}

uint64_t tasks_process_cpu_ns(const tasks *tasks)
{
    /* The clock id of a process's CPU clock, as clock_getcpuclockid makes it; unlike a thread's it
     * may be read for any process (pid_for_clock in kernel/time/posix-cpu-timers.c). */
    clockid_t clock;
    struct timespec time;
    if (clock_getcpuclockid(tasks->pid, &clock) || clock_gettime(clock, &time))
        return 0;
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

uint64_t tasks_live_cpu_ns(const tasks *tasks)
{
    uint64_t total_ns = 0;
    for (uint32_t i = 0; i < tasks->count; i++)
        if (!tasks->items[i]->gone)
            total_ns += tasks->items[i]->run_ns - tasks->items[i]->base_ns;
    return total_ns;
}

void tasks_free(tasks *tasks)
{
    for (uint32_t i = 0; i < tasks->count; i++) {
        close_files(tasks->items[i]);
        free(tasks->items[i]);
    }
    free(tasks->items);
    map_free(&tasks->by_tid);
    map_free(&tasks->by_target_tid);
    if (tasks->task_fd >= 0)
        close(tasks->task_fd);
}
