// What the program `player` asks the stand-in driver to do, and the driver tells the stand-in CUPTI.
#pragma once

struct Operation {
    int kind;           // CUpti_ActivityKind
    const char* name;   // of a kernel or a range; lives for ever
    const char* domain;
    unsigned long long bytes;
    unsigned flags;     // of a range: CUpti_ActivityFlag
    unsigned id;
    int is_running;     // its end is not known until the next Operation of kind 0
};

using Hook = void (*)(const Operation*);
