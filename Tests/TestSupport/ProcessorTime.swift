import Glibc

/// How long the calling thread's work keeps a processor. What else the machine does is not in it, unlike a clock's time:
/// for tests of what a piece of code costs.
public func processorTime<Failure>(of work: () throws(Failure) -> Void) throws(Failure) -> Duration
{
    let before = threadTime()
    try work()
    return threadTime() - before
}

private func threadTime() -> Duration {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
}
