#include "table.h"
int plot_main(const char *directory, const char *policies)
{
	(void)directory;
	(void)policies;
	return 0;
}
