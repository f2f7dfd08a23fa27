DROP TABLE /* schema */riverbridge_history_mark;

DROP TABLE /* schema */riverbridge_history;
