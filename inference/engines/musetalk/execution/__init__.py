"""Running the nets on batches.

runner           bucket sizes, half precision, graphs, two streams
hearing          windows of sound to tokens
batch            jobs gathered, pasted, brought back in one copy
buckets          sizes of batches; pure
graphs           a batch as one launch
overlap          two halves of a batch on two queues
queueing         how long a mouth waits while many speak; pure
known_times      what batches took, kept for the next process
thread_priority  long work gives way to the stream
"""
