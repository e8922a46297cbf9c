import subprocess
import sys
import textwrap


def run(body: str) -> subprocess.CompletedProcess[str]:
    code = "import threading, time\nfrom musetalk_site.process_end import end_process\n"
    return subprocess.run(
        [sys.executable, "-c", code + textwrap.dedent(body)],
        capture_output=True,
        text=True,
        timeout=20,
    )


def test_exit_handlers_run_when_native_threads_have_ended():
    done = run(
        """
        import atexit
        atexit.register(print, "exit handler")
        threading.Thread(target=time.sleep, args=(0.1,), name="engine_0").start()
        end_process(3)
        print("after")
        """
    )
    assert (done.returncode, done.stdout) == (3, "exit handler\n"), done.stderr


def test_the_interpreter_is_not_taken_apart():
    """It takes seconds with torch loaded, and gives nothing back that the system would not."""
    done = run(
        """
        class Slow:
            def __del__(self):
                print("taken apart", flush=True)
        slow = Slow()
        end_process()
        """
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_a_thread_that_does_not_end_is_not_waited_for():
    done = run(
        """
        import atexit
        atexit.register(print, "exit handler")
        threading.Thread(target=time.sleep, args=(60,), name="media_0").start()
        print("before")
        end_process(3, wait_s=0.1)
        """
    )
    assert (done.returncode, done.stdout) == (3, "before\n"), done.stderr


def test_other_threads_are_none_of_its_business():
    done = run(
        """
        import atexit
        atexit.register(print, "exit handler")
        threading.Thread(target=time.sleep, args=(60,), name="other").start()
        end_process(wait_s=0)
        """
    )
    assert (done.returncode, done.stdout) == (0, "exit handler\n"), done.stderr
