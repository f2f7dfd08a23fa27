DROP TABLE /* schema */riverbridge_audit;
