DROP TABLE /* schema */riverbridge_periodic_job;
