"""Writes Ingero files of each version of the format, from rows told by name."""

import sqlite3

T0 = 1_775_000_000_000_000_000
SECOND = 1_000_000_000
EVENTS = {
    "timestamp": "INTEGER NOT NULL",
    "pid": "INTEGER NOT NULL",
    "tid": "INTEGER NOT NULL",
    "source": "INTEGER NOT NULL",
    "op": "INTEGER NOT NULL",
    "duration": "INTEGER NOT NULL",
    "gpu_id": "INTEGER NOT NULL DEFAULT 0",
    "arg0": "INTEGER NOT NULL DEFAULT 0",
    "arg1": "INTEGER NOT NULL DEFAULT 0",
    "ret_code": "INTEGER NOT NULL DEFAULT 0",
    "stack_hash": "INTEGER NOT NULL DEFAULT 0",
    "cgroup_id": "INTEGER NOT NULL DEFAULT 0",
}
SINCE_09 = {
    "node": "TEXT NOT NULL DEFAULT ''",
    "rank": "INTEGER",
    "local_rank": "INTEGER",
    "world_size": "INTEGER",
}
SINCE_010 = {"comm": "TEXT NOT NULL DEFAULT ''"}
COLUMNS = {"0.8": EVENTS, "0.9": EVENTS | SINCE_09, "0.10": EVENTS | SINCE_09 | SINCE_010}
OTHERS = {
    "schema_info": "key TEXT PRIMARY KEY, value TEXT NOT NULL",
    "sessions": (
        "started_at INTEGER, stopped_at INTEGER, gpu_model TEXT, cpu_cores INTEGER, "
        "mem_total INTEGER, kernel TEXT, ingero_ver TEXT"
    ),
    "system_snapshots": (
        "timestamp INTEGER UNIQUE, cpu_pct REAL, mem_pct REAL, mem_avail INTEGER, "
        "swap_mb INTEGER, load_avg REAL"
    ),
    "process_names": "pid INTEGER PRIMARY KEY, name TEXT, seen_at INTEGER",
    "stack_traces": "hash INTEGER PRIMARY KEY, ips TEXT, frames TEXT",
    "causal_chains": "id TEXT PRIMARY KEY, detected_at INTEGER, severity TEXT, summary TEXT",
    "event_aggregates": (
        "bucket INTEGER, source INTEGER, op INTEGER, pid INTEGER, count INTEGER, stored INTEGER, "
        "sum_dur INTEGER, min_dur INTEGER, max_dur INTEGER, sum_arg0 INTEGER, "
        "PRIMARY KEY (bucket, source, op, pid)"
    ),
    "cgroup_metadata": (
        "cgroup_id INTEGER PRIMARY KEY, container_id TEXT, cgroup_path TEXT, pod_name TEXT, "
        "namespace TEXT"
    ),
    "annotations": (
        "timestamp INTEGER, labels TEXT, pid INTEGER, span_start INTEGER, span_end INTEGER"
    ),
}
# A program with one thread, seen from the start of a session.
SESSION = {"started_at": T0, "stopped_at": T0 + 60 * SECOND, "ingero_ver": "v0.16.2"}
PID = 100


def event(at_ns, source, op, duration=0, **more):
    """An event `at_ns` after T0 of the thread PID, which is the main one of its process."""
    return {
        "timestamp": T0 + at_ns,
        "pid": PID,
        "tid": PID,
        "source": source,
        "op": op,
        "duration": duration,
    } | more


def launch(at_ns, duration, **more):
    """A cudaLaunchKernel entered at `at_ns`."""
    return event(at_ns, 1, 3, duration, **more)


def stay(left_ns, back_ns, **more):
    """A sched_switch row: off the CPU from one moment to another, told of at the latter."""
    return event(back_ns, 3, 1, back_ns - left_ns, **more)


def read(begin_ns, end_ns, **more):
    """A block_read, told of at its end."""
    return event(end_ns, 5, 1, end_ns - begin_ns, **more)


def write(path, events, version="0.9", page_bytes=4096, **others):
    """Write a file with these events, numbered from 1, and rows of other tables by name."""
    columns = COLUMNS[version]
    id_type = "INTEGER PRIMARY KEY AUTOINCREMENT" if version == "0.8" else "TEXT PRIMARY KEY"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA synchronous = OFF")
        db.execute(f"PRAGMA page_size = {page_bytes}")
        body = ", ".join(f"{name} {kind}" for name, kind in columns.items())
        db.execute(f"CREATE TABLE events (id {id_type}, {body})")
        db.execute("CREATE INDEX idx_events_timestamp ON events(timestamp)")
        for table, body in OTHERS.items():
            db.execute(f"CREATE TABLE {table} ({body})")
        numbers = {}
        for row in events:
            node = row.get("node", "") if version != "0.8" else ""
            numbers[node] = numbers.get(node, 0) + 1
            number = row.get("number", numbers[node])
            named = {name: value for name, value in row.items() if name in columns}
            _insert(
                db, "events", {"id": number if version == "0.8" else f"{node}:{number}"} | named
            )
        others = {"schema_info": [{"key": "version", "value": version}]} | others
        others.setdefault("sessions", [SESSION])
        for table, rows in others.items():
            for row in rows:
                _insert(db, table, row)
    db.close()
    return path


def _insert(db, table, row):
    marks = ", ".join("?" * len(row))
    db.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))
