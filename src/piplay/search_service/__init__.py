"""Search as a service: index folders, and a server on Search-R1's ``/retrieve`` contract (extra ``serve``)."""
