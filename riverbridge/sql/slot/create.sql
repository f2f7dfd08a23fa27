-- Makes slots of a sink.
INSERT INTO /* schema */riverbridge_slot (id, sink, owner)
SELECT unnest(%(ids)b::text[]), %(sink)s, %(owner)s
