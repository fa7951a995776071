using Xunit;

// Every target runs on all processors by itself.
[assembly: CollectionBehavior(DisableTestParallelization = true)]
