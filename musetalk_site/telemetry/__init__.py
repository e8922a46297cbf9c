"""What operators and their tools see of the running service.

families    numbers with names, as values that can be added up over processes; pure
process     the numbers of this process
collection  … and those of the others on this machine
exposition  all processes' numbers as Prometheus reads them
probes      is this process alive, and can it serve
spans       what took how long, sent to a collector
"""
