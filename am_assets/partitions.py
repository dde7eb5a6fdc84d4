"""How the lake is cut: one partition a UTC day, for all assets the same."""

from datetime import date

from dagster import AssetCheckExecutionContext, DailyPartitionsDefinition

# Before the first phone with a camera, and so before anything a device can have to send. A day that
# is older all the same (a clock that was never set) has its rows, and `am process` works it off.
FIRST_DAY = date(2000, 1, 1)

# end_offset: today is a partition, although it has not ended. Tomorrow is none: what a device whose
# clock is ahead sends for it is taken up when it has begun.
DAYS = DailyPartitionsDefinition(start_date=FIRST_DAY.isoformat(), timezone="UTC", end_offset=1)


def partition_day(context: AssetCheckExecutionContext) -> date:
    """The day that a check's run is about.

    The checks have no partitions of their own: those are a preview that may still change.
    """
    return date.fromisoformat(context.op_execution_context.partition_key)
