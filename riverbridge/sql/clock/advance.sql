UPDATE /* schema */riverbridge_clock SET ahead = ahead + make_interval(secs => %(seconds)s::float8)
