/*
 * getaddrinfo_a(3): a thread for each request, and no lock: a request is done when its __return is
 * no longer EAI_INPROGRESS; who waits sleeps on a counter that every finished request raises. As
 * all requests run at once, none can be cancelled.
 */
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "preload/raw.h"
#include "preload/resolve_internal.h"

static unsigned finished; /* requests, ever */

/* One call of getaddrinfo_a; the last of its requests reports and frees it. */
struct batch {
	u32 left; /* requests, and the caller */
	struct sigevent event;
};

struct job {
	struct gaicb *request;
	struct batch *batch;
};

static int state_of(const struct gaicb *request)
{
	return __atomic_load_n(&request->__return, __ATOMIC_ACQUIRE);
}

static void *notify(void *arg)
{
	struct sigevent *event = arg;
	void (*function)(union sigval) = event->sigev_notify_function;
	union sigval value = event->sigev_value;

	free(event);
	function(value);
	return NULL;
}

static void report(const struct sigevent *event)
{
	siginfo_t info = {.si_signo = event->sigev_signo, .si_code = SI_ASYNCNL};
	struct sigevent *copy;
	pthread_attr_t attr, *given = event->sigev_notify_attributes;
	pthread_t thread;

	if (event->sigev_notify == SIGEV_SIGNAL) {
		info.si_pid = getpid();
		info.si_uid = getuid();
		info.si_value = event->sigev_value;
		raw_syscall3(SYS_rt_sigqueueinfo, info.si_pid, info.si_signo, (long)&info);
	} else if (event->sigev_notify == SIGEV_THREAD && (copy = malloc(sizeof(*copy)))) {
		*copy = *event;
		pthread_attr_init(&attr);
		pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
		if (pthread_create(&thread, given ? given : &attr, notify, copy))
			free(copy);
		pthread_attr_destroy(&attr);
	}
}

static void release(struct batch *batch)
{
	if (__atomic_sub_fetch(&batch->left, 1, __ATOMIC_ACQ_REL))
		return;
	report(&batch->event);
	free(batch);
}

static void *work(void *arg)
{
	struct job job = *(struct job *)arg;
	struct gaicb *request = job.request;
	int ret;

	free(arg);
	ret = resolve_getaddrinfo(
		request->ar_name, request->ar_service, request->ar_request, &request->ar_result);
	__atomic_store_n(&request->__return, ret, __ATOMIC_RELEASE);
	__atomic_add_fetch(&finished, 1, __ATOMIC_RELEASE);
	raw_futex(&finished, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
	release(job.batch);
	return NULL;
}

/* Starts one request, with all signals blocked in its thread. */
static int start(struct gaicb *request, struct batch *batch)
{
	struct job *job = malloc(sizeof(*job));
	sigset_t all, old;
	pthread_attr_t attr;
	pthread_t thread;
	int error;

	if (!job)
		return EAI_MEMORY;
	*job = (struct job){request, batch};
	request->ar_result = NULL;
	request->__return = EAI_INPROGRESS;
	__atomic_add_fetch(&batch->left, 1, __ATOMIC_RELAXED);
	sigfillset(&all);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	error = pthread_create(&thread, &attr, work, job);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	if (!error)
		return 0;
	__atomic_sub_fetch(&batch->left, 1, __ATOMIC_RELAXED);
	request->__return = EAI_AGAIN;
	free(job);
	return EAI_AGAIN;
}

/* How many of the list are still running. */
static int running(const struct gaicb *const list[], int count)
{
	int n = 0;

	for (int i = 0; i < count; i++)
		n += list[i] && state_of(list[i]) == EAI_INPROGRESS;
	return n;
}

int resolve_getaddrinfo_a(int mode, struct gaicb *list[], int count, struct sigevent *event)
{
	struct batch *batch;
	int ret = 0;

	if (mode != GAI_WAIT && mode != GAI_NOWAIT) {
		errno = EINVAL;
		return EAI_SYSTEM;
	}
	batch = calloc(1, sizeof(*batch));
	if (!batch)
		return EAI_MEMORY;
	batch->left = 1;
	batch->event.sigev_notify = SIGEV_NONE;
	if (mode == GAI_NOWAIT && event)
		batch->event = *event;
	for (int i = 0; i < count; i++) {
		int error = list[i] ? start(list[i], batch) : 0;

		ret = ret ? ret : error;
	}
	release(batch);
	while (mode == GAI_WAIT) {
		unsigned seen = __atomic_load_n(&finished, __ATOMIC_ACQUIRE);

		if (!running((const struct gaicb *const *)list, count))
			break;
		raw_futex(&finished, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
	}
	return ret;
}

int resolve_gai_suspend(const struct gaicb *const list[], int count, const struct timespec *timeout)
{
	unsigned seen = __atomic_load_n(&finished, __ATOMIC_ACQUIRE);
	int before = running(list, count), ret;
	struct timespec now, end = {0}, left;

	if (!before)
		return EAI_ALLDONE;
	raw_clock_gettime(CLOCK_MONOTONIC, &now);
	if (timeout) {
		end.tv_sec = now.tv_sec + timeout->tv_sec;
		end.tv_nsec = now.tv_nsec + timeout->tv_nsec;
	}
	for (;;) {
		if (timeout) {
			s64 ns = (s64)(end.tv_sec - now.tv_sec) * 1000000000 +
				 (end.tv_nsec - now.tv_nsec);

			ns = ns > 0 ? ns : 0;
			left = (struct timespec){ns / 1000000000, ns % 1000000000};
		}
		ret = raw_futex(
			&finished, FUTEX_WAIT_PRIVATE, seen, timeout ? &left : NULL, NULL, 0);
		seen = __atomic_load_n(&finished, __ATOMIC_ACQUIRE);
		if (running(list, count) < before)
			return 0;
		if (ret == -EINTR)
			return EAI_INTR;
		if (ret == -ETIMEDOUT)
			return EAI_AGAIN;
		raw_clock_gettime(CLOCK_MONOTONIC, &now);
	}
}

int resolve_gai_cancel(struct gaicb *request)
{
	return state_of(request) == EAI_INPROGRESS ? EAI_NOTCANCELED : EAI_ALLDONE;
}

int resolve_gai_error(struct gaicb *request)
{
	return state_of(request);
}
