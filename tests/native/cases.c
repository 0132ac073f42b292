#include "cases.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <sanitizer/common_interface_defs.h>

#define CASE_SECONDS 60

static uint64_t case_number;

static void say_case(void)
{
    fprintf(stderr, "case %llu\n", (unsigned long long)case_number);
}

static void on_alarm(int signal)
{
    (void)signal;
    static const char message[] = "wrong: a case hangs\n";
    if (write(2, message, sizeof message - 1) > 0)
        abort();
}

void cases_run(uint64_t first, uint64_t count, void (*run)(uint64_t number))
{
    __sanitizer_set_death_callback(say_case);
    signal(SIGALRM, on_alarm);
    for (case_number = first; case_number < first + count; case_number++) {
        alarm(CASE_SECONDS);
        run(case_number);
    }
}
