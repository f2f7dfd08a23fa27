"""A search for jobs as the filter of a replay, where one can say the same as the other."""

from __future__ import annotations

from riverbridge.errors import InvalidRequest
from riverbridge.model.job_search import JobSearch
from riverbridge.model.replay import ReplayFilter

_CANNOT = {
    "not_kinds": "-kind",
    "not_queues": "-queue",
    "not_tags": "-tag",
    "not_errors": "-error",
    "priorities": "priority",
    "workers": "worker",
    "words": "words",
    "not_words": "words",
}


def replay_filter(search: JobSearch) -> ReplayFilter:
    """The filter; of a value of args or metadata that may be a number or a text, the number.

    Raises InvalidRequest for what a replay cannot be asked for.
    """
    for name, said in _CANNOT.items():
        if getattr(search, name):
            raise InvalidRequest(
                f"{said}: a replay cannot be told apart by it: use kind, queue, state, id, tag, "
                "args, metadata, error, since, until, finished"
            )
    for queue in search.queues:
        if "*" in queue:
            raise InvalidRequest(f"queue: {queue} is a pattern: name the queues of a replay whole")
    if len(search.errors) > 1 or any("*" in text for text in search.errors):
        raise InvalidRequest("error: a replay takes one text, without *")
    if len(search.tags) > 1:
        raise InvalidRequest("tag: a replay takes one here: for all of several use the command")
    return ReplayFilter(
        kinds=search.kinds,
        queues=search.queues,
        states=tuple(str(state) for state in search.states),
        ids=search.ids,
        created_from=search.since,
        created_before=search.until,
        finalized_from=search.finished,
        error=next(iter(search.errors), None),
        tags=search.tags,
        metadata=next(iter(search.metadata), None),
        args=next(iter(search.args), None),
    )
