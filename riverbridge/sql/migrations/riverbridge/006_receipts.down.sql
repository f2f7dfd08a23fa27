DROP TABLE /* schema */riverbridge_receipt;
