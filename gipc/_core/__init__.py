"""What knows gevent and the operating system. Each module here is useful without an executor."""
