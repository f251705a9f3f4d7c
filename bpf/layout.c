/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* No program: its BTF has every shared type, of which make_layouts.py makes the Python module. */
#include "layout.h"

struct {
    struct operation operation;
    struct nccl_operation nccl_operation;
    struct thread thread;
    struct cell cell;
    struct settings settings;
    struct losses losses;
    struct record record;
    struct call_record call_record;
    struct nccl_record nccl_record;
    struct communicator_record communicator_record;
    struct stay_record stay_record;
    struct block_record block_record;
    struct network_record network_record;
    struct thread_record thread_record;
    struct stack stack;
    enum size size;
    enum layer layer;
    enum nccl_role nccl_role;
    enum slot_state slot_state;
    enum record_kind record_kind;
    enum communicator_event communicator_event;
    enum network_event network_event;
    enum stay_class stay_class;
    enum waker waker;
} shared;
