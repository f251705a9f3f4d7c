// The driver that loaded us: its version, its GPUs, and whether it is still there.
#pragma once

#include "layout.h"

namespace gnomon {

// cuDriverGetVersion, such as 13000; 0 where it cannot be asked.
int driver_cuda();

// Fill in the GPUs that this process sees, once the driver has been initialised. Nothing is
// initialised for it: cuInit is the workload's.
void describe_devices(Header& header);

// False while or after the driver is torn down, as it is at the end of a process.
bool is_driver_alive();

}  // namespace gnomon
