DELETE FROM /* schema */riverbridge_history AS history
USING unnest(%(steps)b::int[], %(keep)b::float8[]) AS kept (step, seconds)
WHERE history.step = kept.step
  AND history.at < now() - make_interval(secs => kept.seconds)
