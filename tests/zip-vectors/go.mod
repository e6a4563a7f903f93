module zipvectors

go 1.25
