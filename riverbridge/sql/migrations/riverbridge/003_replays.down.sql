DROP TABLE /* schema */riverbridge_replay;
