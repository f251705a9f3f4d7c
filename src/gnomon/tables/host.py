"""What hosts and processes did."""

from gnomon.tables._columns import PROCESS, TIME, Column, Table, ns, pct, rate, size, text

HOST_SAMPLES = Table(
    "host_samples",
    "What the host did in an interval. One row a reading.",
    (
        *TIME,
        pct("cpu_pct", "CPU in use, of all cores", "/proc/stat"),
        Column("cpu_count", "int32", "count", "CPUs online", "/proc/stat"),
        pct("busiest_cpu_pct", "the busiest single CPU", "/proc/stat"),
        pct("iowait_pct", "idle CPU with a block request outstanding, of all cores", "/proc/stat"),
        pct("steal_pct", "CPU taken by the hypervisor, of all cores", "/proc/stat"),
        Column("runnable_tasks", "int32", "count", "tasks running or ready to run", "/proc/stat"),
        Column("load_1m", "float64", "tasks", "load average over a minute", "/proc/loadavg"),
        pct(
            "cpu_pressure_pct",
            "share of time in which some task waited for a CPU (PSI some)",
            "/proc/pressure/cpu",
        ),
        pct(
            "memory_pressure_pct",
            "share of time in which some task waited for memory",
            "/proc/pressure/memory",
        ),
        pct(
            "io_pressure_pct",
            "share of time in which some task waited for I/O",
            "/proc/pressure/io",
        ),
        size("memory_used_bytes", "memory that is not available", "/proc/meminfo"),
        size("memory_total_bytes", "memory there is", "/proc/meminfo"),
        size("swap_used_bytes", "swap in use", "/proc/meminfo"),
        rate(
            "disk_read_bytes_per_s",
            "read from disks, of partitions and stacked devices only the disk below",
            "/proc/diskstats",
        ),
        rate("disk_write_bytes_per_s", "written to disks, as above", "/proc/diskstats"),
        rate(
            "network_rx_bytes_per_s",
            "received by network cards; by all interfaces but the "
            "loopback where there is no card (a container)",
            "/proc/net/dev",
        ),
        rate("network_tx_bytes_per_s", "sent, as above", "/proc/net/dev"),
        Column("context_switches_per_s", "float64", "1/s", "context switches", "/proc/stat"),
        ns("reading_cost_ns", "CPU time this reading took", "clock_gettime(THREAD_CPUTIME_ID)"),
    ),
)

PROCESS_SAMPLES = Table(
    "process_samples",
    "The host side of each watched process: one row a process and reading.",
    (
        *TIME,
        *PROCESS,
        text("name", "short name", "/proc/PID/comm"),
        Column("cpu_pct", "float64", "% of one core", "CPU of all threads", "/proc/PID/stat"),
        Column("threads", "int32", "count", "threads", "/proc/PID/stat"),
        Column("busiest_tid", "int32", "", "the thread that used most CPU", "/proc/PID/task"),
        text("busiest_thread_name", "its name", "/proc/PID/task/TID/comm"),
        pct(
            "busiest_thread_cpu_pct",
            "its CPU, of one core",
            "/proc/PID/task/TID/schedstat, stat where the kernel keeps no scheduler statistics",
        ),
        pct(
            "busiest_thread_run_queue_pct",
            "share of the interval it waited for a CPU",
            "/proc/PID/task/TID/schedstat",
        ),
        size("rss_bytes", "resident memory", "/proc/PID/statm"),
        rate("io_read_bytes_per_s", "read from storage", "/proc/PID/io"),
        rate("io_write_bytes_per_s", "written to storage", "/proc/PID/io"),
    ),
)
