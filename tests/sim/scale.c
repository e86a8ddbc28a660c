#include "table.h"
int scale_main(void)
{
	return 0;
}
