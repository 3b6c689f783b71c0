module firedrill.local/nc

go 1.26.0
