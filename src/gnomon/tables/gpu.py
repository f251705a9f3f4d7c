"""What GPUs did, and who used them."""

from gnomon.tables._columns import (
    GPU,
    PROCESS,
    TIME,
    Column,
    Table,
    celsius,
    count,
    mhz,
    ns,
    pct,
    rate,
    size,
    text,
    watts,
)

GPU_COUNTERS = Table(
    "gpu_counters",
    "What each GPU did in an interval. One row a GPU (or MIG instance), source and interval; "
    "a source fills its own columns and leaves the others null.",
    (
        *TIME,
        *GPU,
        text("source", "who wrote this row: nvml, gpm, pm or import"),
        # The number that lies, and what stands beside it
        pct(
            "busy_pct",
            "share of time in which some kernel or copy ran: nvidia-smi's GPU-Util",
            "nvmlDeviceGetUtilizationRates.gpu",
        ),
        pct(
            "memory_busy_pct",
            "share of time in which device memory was read or written",
            "nvmlDeviceGetUtilizationRates.memory",
        ),
        pct("encoder_pct", "video encoder in use", "nvmlDeviceGetEncoderUtilization"),
        pct("decoder_pct", "video decoder in use", "nvmlDeviceGetDecoderUtilization"),
        pct("jpeg_pct", "JPEG engine in use", "nvmlDeviceGetJpgUtilization"),
        pct("ofa_pct", "optical flow engine in use", "nvmlDeviceGetOfaUtilization"),
        # Hardware counters
        pct(
            "engine_active_pct",
            "share of time in which the graphics/compute engine had work",
            "GPM 1; PM gr__cycles_active",
        ),
        pct(
            "sm_active_pct",
            "mean over SMs of the share of cycles with at least one warp",
            "GPM 2; PM sm__cycles_active",
        ),
        pct(
            "sm_occupancy_pct",
            "resident warps over the most an SM can hold, mean over SMs",
            "GPM 3; PM warps_active",
        ),
        pct("integer_active_pct", "integer pipe active, of elapsed cycles", "GPM 4"),
        pct(
            "tensor_active_pct",
            "any tensor pipe active, of elapsed cycles (holds DMMA too)",
            "GPM 5; PM pipe_tensor",
        ),
        pct(
            "tensor_dfma_active_pct",
            "tensor pipe with DFMA instructions, of elapsed cycles",
            "GPM 6",
        ),
        pct(
            "tensor_hmma_active_pct",
            "tensor pipe with 16-bit, TF32 or 8-bit float instructions, of elapsed cycles",
            "GPM 7; PM pipe_tensor_op_hmma",
        ),
        pct(
            "tensor_dmma_active_pct",
            "tensor pipe with fp64 instructions, of elapsed cycles",
            "GPM 8; PM pipe_tensor_op_dmma",
        ),
        pct(
            "tensor_imma_active_pct",
            "tensor pipe with integer instructions, of elapsed cycles",
            "GPM 9; PM pipe_tensor_op_imma",
        ),
        pct("fp64_active_pct", "fp64 pipe active, of elapsed cycles", "GPM 11"),
        pct("fp32_active_pct", "fp32 (FMA) pipe active, of elapsed cycles", "GPM 12; PM pipe_fma"),
        pct("fp16_active_pct", "fp16 (non-tensor) pipe active, of elapsed cycles", "GPM 13"),
        pct(
            "dram_active_pct",
            "DRAM throughput of the datasheet's peak",
            "GPM 10; PM dramc__throughput",
        ),
        pct("dram_read_pct", "DRAM read throughput of the peak", "PM dramc__read_throughput"),
        pct("dram_write_pct", "DRAM write throughput of the peak", "PM dramc__write_throughput"),
        # Links
        rate("pcie_rx_bytes_per_s", "received over PCIe (host to device)", "GPM 21; field 198"),
        rate("pcie_tx_bytes_per_s", "sent over PCIe (device to host)", "GPM 20; field 197"),
        rate("nvlink_rx_bytes_per_s", "received over all NVLinks", "GPM 60; field 139"),
        rate("nvlink_tx_bytes_per_s", "sent over all NVLinks", "GPM 61; field 138"),
        pct(
            "link_only_pct",
            "share of time in which PCIe or NVLink moved data while no SM held a warp",
            "PM samples, where the link counters fit the same pass",
        ),
        Column(
            "pcie_generation",
            "int32",
            "",
            "present PCIe link generation",
            "nvmlDeviceGetCurrPcieLinkGeneration",
        ),
        Column(
            "pcie_lanes",
            "int32",
            "count",
            "present PCIe link width",
            "nvmlDeviceGetCurrPcieLinkWidth",
        ),
        # Clocks and why they are what they are
        mhz(
            "sm_clock_mhz",
            "SM clock over the interval: elapsed cycles over time where "
            "sm_clock_source is gpm or cupti, an instant reading where it is nvml",
            "GPM 248 to 260; PM sm__cycles_elapsed; nvmlDeviceGetClockInfo",
        ),
        text("sm_clock_source", "gpm, cupti, clock64 or nvml"),
        mhz("memory_clock_mhz", "memory clock", "nvmlDeviceGetClockInfo"),
        Column(
            "performance_state",
            "int32",
            "",
            "P-state, 0 is the fastest",
            "nvmlDeviceGetPerformanceState",
        ),
        Column(
            "throttle_reasons",
            "int64",
            "bits",
            "clock event reasons at the instant; the bits are enums.THROTTLE_BITS",
            "nvmlDeviceGetCurrentClocksEventReasons",
        ),
        ns(
            "throttle_sw_power_cap_ns",
            "time in the interval held down by the power cap",
            "field 74",
        ),
        ns("throttle_sync_boost_ns", "time in the interval held down by sync boost", "field 76"),
        ns(
            "throttle_sw_thermal_ns",
            "time in the interval held down by software thermal limits",
            "field 269",
        ),
        ns(
            "throttle_hw_thermal_ns",
            "time in the interval held down by hardware thermal limits",
            "field 270",
        ),
        ns(
            "throttle_hw_power_brake_ns",
            "time in the interval held down by the power brake",
            "field 271",
        ),
        # Power and heat
        watts(
            "power_watts",
            "mean power over the interval, from the energy counter",
            "nvmlDeviceGetTotalEnergyConsumption",
        ),
        watts("power_instant_watts", "power now, as the driver samples it", "field 186"),
        Column(
            "energy_joules",
            "float64",
            "J",
            "energy used in the interval",
            "nvmlDeviceGetTotalEnergyConsumption",
        ),
        watts("power_limit_watts", "enforced power limit", "nvmlDeviceGetEnforcedPowerLimit"),
        celsius("temperature_celsius", "GPU core temperature", "nvmlDeviceGetTemperature"),
        celsius("memory_temperature_celsius", "memory temperature", "field 82"),
        pct("fan_pct", "fan speed, of its maximum", "nvmlDeviceGetFanSpeed"),
        # Memory and health
        size(
            "vram_used_bytes",
            "device memory in use, reserved by the driver included",
            "nvmlDeviceGetMemoryInfo",
        ),
        size("vram_total_bytes", "device memory there is", "nvmlDeviceGetMemoryInfo"),
        count(
            "ecc_corrected",
            "corrected ECC errors since the driver was loaded",
            "nvmlDeviceGetTotalEccErrors",
        ),
        count(
            "ecc_uncorrected",
            "uncorrected ECC errors since the driver was loaded",
            "nvmlDeviceGetTotalEccErrors",
        ),
        count("remapped_rows", "memory rows remapped after errors", "nvmlDeviceGetRemappedRows"),
        # The observer observed
        count("samples", "hardware samples behind this row (PM: about 100 a row)", "source"),
        ns("reading_cost_ns", "CPU time this reading took", "clock_gettime(THREAD_CPUTIME_ID)"),
    ),
)

GPU_PROCESSES = Table(
    "gpu_processes",
    "Which processes use which GPU. One row a process, GPU and reading.",
    (
        *TIME,
        *GPU,
        *PROCESS,
        Column(
            "ns_pid", "int32", "", "process id inside its own pid namespace", "/proc/PID/status"
        ),
        text("kind", "compute, graphics or mps", "NVML call that listed it"),
        text("name", "short name", "/proc/PID/comm"),
        text("command_line", "arguments, separated by spaces", "/proc/PID/cmdline"),
        text("user", "owner's name, or number where it has none", "/proc/PID"),
        text("container_id", "container the process runs in", "/proc/PID/cgroup"),
        text("pod_uid", "Kubernetes pod the process runs in", "/proc/PID/cgroup"),
        size(
            "vram_used_bytes",
            "device memory of this process",
            "nvmlDeviceGetComputeRunningProcesses",
        ),
        pct(
            "sm_pct",
            "this process's share of busy time, as the driver samples it",
            "nvmlDeviceGetProcessUtilization",
        ),
        pct(
            "memory_pct",
            "this process's share of memory-busy time",
            "nvmlDeviceGetProcessUtilization",
        ),
        pct("encoder_pct", "encoder use of this process", "nvmlDeviceGetProcessUtilization"),
        pct("decoder_pct", "decoder use of this process", "nvmlDeviceGetProcessUtilization"),
    ),
)
