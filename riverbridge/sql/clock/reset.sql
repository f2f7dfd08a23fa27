UPDATE /* schema */riverbridge_clock SET ahead = interval '0' WHERE ahead <> interval '0'
