-- Says that this process lives. Written again where somebody took the record for dead and removed it.
INSERT INTO /* schema */riverbridge_process (id, host, pid, version, queues, started_at, heartbeat_at)
VALUES (%(id)s, %(host)s, %(pid)s, %(version)s, %(queues)b::text[], now(), now())
ON CONFLICT (id) DO UPDATE SET heartbeat_at = now()
