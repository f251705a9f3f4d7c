// What the rest of the library asks of the process it is in.
#pragma once

namespace gnomon {

// False in a child that was forked from the process that records: its CUDA is of no use, and its
// copy of what we set up is not ours to touch.
bool is_own_process();

// Whether the process has called exit, and waits for us for a moment only.
bool is_ending();

// Have the records of an open window handed over when the process calls exit.
void flush_at_exit();

}  // namespace gnomon
