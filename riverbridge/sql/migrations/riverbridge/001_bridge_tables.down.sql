DROP TABLE /* schema */riverbridge_route;
DROP TABLE /* schema */riverbridge_process;
