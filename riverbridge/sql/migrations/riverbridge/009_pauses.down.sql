DROP TABLE /* schema */riverbridge_pause;
