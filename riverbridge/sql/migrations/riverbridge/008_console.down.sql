DROP TABLE /* schema */riverbridge_operation;
DROP TABLE /* schema */riverbridge_audit;
