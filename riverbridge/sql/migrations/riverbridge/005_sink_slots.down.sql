DROP TABLE /* schema */riverbridge_slot;
