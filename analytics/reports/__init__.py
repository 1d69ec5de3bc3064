"""Reports: what people ask for again and again, run on demand or by schedule, and read as files of any size."""
